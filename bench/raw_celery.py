"""The reference of S1: Celery and Redis alone, a process per message, nothing else done."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import redis
from celery import Celery

BROKER = os.environ.get("RAW_CELERY_URL", "")
app = Celery("bench.raw_celery", broker=f"{BROKER}/0", backend=f"{BROKER}/1")


def one_unit() -> int:
    """What a message asks for."""
    return subprocess.run(["/bin/true"], check=True).returncode


run = app.task(one_unit)


def rate_of(messages: int) -> float:
    """Messages per second, from the first one sent until every result is in Redis. Its worker must run."""
    results = redis.Redis.from_url(f"{BROKER}/1")
    results.flushdb()
    run.delay().get(timeout=60)  # the worker is there
    results.flushdb()
    began = time.perf_counter()
    for _ in range(messages):
        run.delay()
    while results.dbsize() < messages:
        time.sleep(0.02)
    return messages / (time.perf_counter() - began)


def worker_command() -> list[str]:
    """The worker as Celery's documentation starts it, on two cores."""
    options = ["--concurrency", "2", "--loglevel", "WARNING"]
    return [sys.executable, "-m", "celery", "-A", "bench.raw_celery", "worker", *options]


if __name__ == "__main__":
    print(rate_of(int(sys.argv[1])))
