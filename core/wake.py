"""Wakes: a message after commit that makes the next step quick. Losing every one of them loses nothing.

Each step also has a sweep, a periodic query for the rows whose wake was lost, so a wake is never retried and
never fails its caller. Bursts collapse: while a wake for the same (job, key) is on its way, others are dropped;
the job lifts the mark *before* it reads, so a row committed later always finds the way free.
"""

from __future__ import annotations

import logging
from functools import cache

from celery import current_app
from django.conf import settings
from django.db import transaction
from redis import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

MARK_SECONDS = 30  # a mark outlives a lost message by this much, then the way is free again


@cache
def redis() -> Redis:
    """The shared client. Short time-outs: a wake is a courtesy and may not hold up a request."""
    return Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def wake(job: str, key: str | int = "", *, delay_s: float = 0) -> None:
    """Send `job` (a Celery job's name) after the transaction commits; `key` becomes its only argument if given."""
    transaction.on_commit(lambda: _send(job, str(key), delay_s), robust=True)


def awake(job: str, key: str | int = "") -> None:
    """Called first by the job: lift the mark, so that later wakes are sent again."""
    try:
        redis().delete(_mark(job, str(key)))
    except RedisError:
        log.warning("redis is away; marks expire by themselves")


def _mark(job: str, key: str) -> str:
    return f"wake:{job}:{key}"


def _send(job: str, key: str, delay_s: float) -> None:
    try:
        if not redis().set(_mark(job, key), 1, nx=True, ex=MARK_SECONDS):
            return
        args = (key,) if key else ()
        current_app.send_task(job, args=args, countdown=delay_s or None, expires=600, ignore_result=True)
    except Exception as error:  # noqa: BLE001  a lost wake is found by the sweep; a failed one must not fail the commit's caller
        log.warning("wake %s was not sent (%s); the sweep will find it", job, error)
