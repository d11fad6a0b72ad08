"""Token buckets: a caller may do `size` things at once and `per_second` in the long run, here or on any machine.

With REDIS_URL the buckets lie in Redis, where one script takes from all of them or from none; without it they lie in
this process, which then is the only one. The same arithmetic runs in both places.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.conf import settings

logger = logging.getLogger(__name__)

MOST_KEPT = 100_000  # buckets in this process; full ones are forgotten first, they say nothing
REDIS_TIMEOUT_S = 0.5
REDIS_PAUSE_S = 10.0  # after a failure of Redis, this process counts for itself for a while

# KEYS: the buckets. ARGV: size, tokens per second, for each. A bucket is kept as its tokens and the moment they were
# counted, by the clock of Redis: those of several machines differ. Returns allowed, then each bucket's tokens.
SCRIPT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local tokens, allowed = {}, 1
for i, key in ipairs(KEYS) do
  local size, rate = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local kept = redis.call('HMGET', key, 't', 'at')
  local had = size
  if kept[1] then had = math.min(size, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * rate) end
  tokens[i] = had
  if had < 1 then allowed = 0 end
end
local answer = {allowed}
for i, key in ipairs(KEYS) do
  local size, rate = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  if allowed == 1 then
    tokens[i] = tokens[i] - 1
    redis.call('HSET', key, 't', string.format('%.6f', tokens[i]), 'at', string.format('%.6f', now))
    redis.call('PEXPIRE', key, math.ceil((size - tokens[i]) / rate * 1000) + 1000)
  end
  answer[i + 1] = string.format('%.6f', tokens[i])
end
return answer
"""


@dataclass(frozen=True)
class Bucket:
    name: str
    size: float  # tokens it holds when full: what may be done at once
    per_second: float  # tokens that come back

    def named(self, name: str) -> Bucket:
        """This bucket of one caller or thing."""
        return replace(self, name=f"{self.name}:{name}")


@dataclass(frozen=True)
class Taken:
    is_allowed: bool
    tokens: tuple[float, ...]  # left in each bucket, in the order that was asked for
    buckets: tuple[Bucket, ...]

    @property
    def wait_s(self) -> float:
        """After how long there is a token in every bucket."""
        pairs = zip(self.buckets, self.tokens, strict=True)
        return max((max(0.0, 1 - left) / bucket.per_second for bucket, left in pairs), default=0.0)

    def remaining(self, number: int) -> int:
        return max(0, math.floor(self.tokens[number] + 1e-6))

    def full_in_s(self, number: int) -> int:
        """After how long a bucket is full again when nothing more is taken."""
        bucket = self.buckets[number]
        return math.ceil((bucket.size - self.tokens[number]) / bucket.per_second)


def take(buckets: Sequence[Bucket]) -> Taken:
    """Take one token from every bucket, or from none when one of them has none."""
    if settings.REDIS_URL and not _memory.is_redis_paused():
        from redis.exceptions import RedisError

        try:
            return _take_in_redis(settings.REDIS_URL, buckets)
        except RedisError:
            # A limiter that cannot count must not be what stops the house.
            logger.exception("Redis does not answer: this process counts requests for itself for a while")
            _memory.pause_redis()
    return _memory.take(buckets)


def wait_s(bucket: Bucket) -> int:
    """Take one token; 0 when there was one, else the seconds until there is."""
    taken = take([bucket])
    return 0 if taken.is_allowed else max(1, math.ceil(taken.wait_s))


def forget() -> None:
    """Empty the counters of this process."""
    _memory.forget()


def _take_in_redis(url: str, buckets: Sequence[Bucket]) -> Taken:
    arguments = [value for bucket in buckets for value in (bucket.size, bucket.per_second)]
    allowed, *tokens = _script(url)(keys=[f"limit:{bucket.name}" for bucket in buckets], args=arguments)
    return Taken(bool(allowed), tuple(float(one) for one in tokens), tuple(buckets))


@lru_cache(maxsize=2)
def _script(url: str) -> Any:
    import redis  # where there is none, nobody waits for its client

    client = redis.Redis.from_url(url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S)
    return client.register_script(SCRIPT)


class _Memory:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, float, float]] = {}  # name -> tokens, when counted, when full again
        self._redis_again_at = 0.0

    def take(self, buckets: Sequence[Bucket]) -> Taken:
        with self._lock:
            now = time.monotonic()
            tokens = [self._tokens(bucket, now) for bucket in buckets]
            is_allowed = all(had >= 1 for had in tokens)
            if is_allowed:
                for number, bucket in enumerate(buckets):
                    tokens[number] -= 1
                    full_at = now + (bucket.size - tokens[number]) / bucket.per_second
                    self._kept[bucket.name] = (tokens[number], now, full_at)
                if len(self._kept) > MOST_KEPT:
                    self._drop(now)
            return Taken(is_allowed, tuple(tokens), tuple(buckets))

    def _tokens(self, bucket: Bucket, now: float) -> float:
        tokens, at, _ = self._kept.get(bucket.name, (bucket.size, now, now))
        return min(bucket.size, tokens + (now - at) * bucket.per_second)

    def _drop(self, now: float) -> None:
        """Forget what is full again; should that be too little, the half that is full soonest."""
        self._kept = {name: kept for name, kept in self._kept.items() if kept[2] > now}
        if len(self._kept) > MOST_KEPT // 2:
            slowest = sorted(self._kept.items(), key=lambda item: -item[1][2])[: MOST_KEPT // 2]
            self._kept = dict(slowest)

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()
            self._redis_again_at = 0.0

    def is_redis_paused(self) -> bool:
        return time.monotonic() < self._redis_again_at

    def pause_redis(self) -> None:
        self._redis_again_at = time.monotonic() + REDIS_PAUSE_S


_memory = _Memory()
