"""Exit 0 once PostgreSQL and Redis answer at DATABASE_URL and REDIS_URL (local ones by default), 1 after 20 s."""

from __future__ import annotations

import os
import sys
import time

import psycopg
import redis

DATABASE_URL = os.environ.get("DATABASE_URL", "postgres://postgres@127.0.0.1:5432/test")
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")


def main() -> int:
    deadline = time.monotonic() + 20
    problem: Exception | None = None
    while time.monotonic() < deadline:
        try:
            psycopg.connect(DATABASE_URL, connect_timeout=3).close()
            redis.Redis.from_url(REDIS_URL, socket_timeout=3).ping()
            return 0
        except (psycopg.Error, redis.RedisError) as error:
            problem = error
            time.sleep(1)
    print(problem, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
