"""Token buckets: what fits, what comes back, all or none; the same in this process and in Redis."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deepfake import rate_limits
from deepfake.rate_limits import Bucket, take

REDIS = os.environ.get("REDIS_URL", "")
DAY = 1 / 86400


@pytest.fixture(params=["memory", "redis"])
def bucket(request: Any, settings: Any) -> Callable[..., Bucket]:
    """Makes buckets that nobody else uses, in either place."""
    if request.param == "redis" and not REDIS:
        pytest.skip("REDIS_URL names no Redis")
    settings.REDIS_URL = REDIS if request.param == "redis" else ""
    return lambda size=3, per_second=DAY: Bucket(f"test:{uuid.uuid4()}", size, per_second)


@pytest.mark.services
def test_a_full_bucket_gives_what_it_holds_and_no_more(bucket: Any) -> None:
    one = bucket(3)
    answers = [take([one]) for _ in range(5)]
    assert [answer.is_allowed for answer in answers] == [True, True, True, False, False]
    assert [answer.remaining(0) for answer in answers] == [2, 1, 0, 0, 0]
    assert answers[0].full_in_s(0) == 86400
    assert answers[-1].wait_s == pytest.approx(86400, rel=0.01)


@pytest.mark.services
def test_tokens_come_back(bucket: Any) -> None:
    import time

    one = bucket(1, per_second=20)
    assert take([one]).is_allowed
    assert not take([one]).is_allowed
    time.sleep(0.06)
    assert take([one]).is_allowed


@pytest.mark.services
def test_from_all_or_from_none(bucket: Any) -> None:
    wide, narrow = bucket(10), bucket(1)
    assert take([wide, narrow]).is_allowed
    for _ in range(3):
        refused = take([wide, narrow])
        assert not refused.is_allowed
        assert refused.remaining(0) == 9  # nothing was taken where there was something
    assert take([wide]).remaining(0) == 8


@pytest.mark.services
def test_many_at_once_get_exactly_what_there_is(bucket: Any) -> None:
    one = bucket(25)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: take([one]).is_allowed, range(100)))
    assert sum(answers) == 25


def test_a_redis_that_is_away_does_not_stop_the_house(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    one = Bucket(f"test:{uuid.uuid4()}", 1, DAY)
    assert take([one]).is_allowed
    assert not take([one]).is_allowed  # counted here meanwhile


def test_old_buckets_are_forgotten(monkeypatch: Any, settings: Any) -> None:
    settings.REDIS_URL = ""
    monkeypatch.setattr(rate_limits, "MOST_KEPT", 10)
    empty = Bucket("test:empty", 1, DAY)
    take([empty])
    for number in range(50):
        take([Bucket(f"test:quick:{number}", 1, 1e6)])
    assert len(rate_limits._memory._kept) <= 11
    assert not take([empty]).is_allowed
