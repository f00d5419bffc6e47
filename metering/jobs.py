"""Metering's jobs, woken when attempts end and by a sweep. Thin: `services.py` does the work."""

from __future__ import annotations

import time
from uuid import UUID

from celery import shared_task
from django.conf import settings

from core.wake import awake, wake
from metering.events.rollups import MOST, rebuild
from metering.services import ended_among, measure

SECONDS = 60  # a job gives its place back after this long; the queue keeps what is left
FEW = 100  # up to so many ended tasks are named one by one, more are one sweep


@shared_task(name="metering.measure")
def measure_job() -> None:
    """Measure until the queue is empty, then ask for the bills of tasks that have ended."""
    awake("metering.measure")
    _drain()


@shared_task(name="metering.sweep")
def sweep_job() -> None:
    """The same for attempts whose wake was lost."""
    _drain()


def _drain() -> None:
    until = time.monotonic() + SECONDS
    tasks: set[UUID] = set()
    while time.monotonic() < until:
        measured = measure()
        tasks.update(measured.tasks)
        if measured.taken < settings.CHUNK:
            break
    else:
        wake("metering.measure")
    _ask_for_bills(ended_among(tasks))


def _ask_for_bills(tasks: list[UUID]) -> None:
    if len(tasks) > FEW:
        wake("billing.sweep")
        return
    for task in tasks:
        wake("billing.charge", str(task))


@shared_task(name="metering.rollup")
def rollup_job() -> None:
    """Build the rollups of hours in which events came. Woken by events, and by a sweep."""
    awake("metering.rollup")
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if rebuild().taken < MOST:
            return
    wake("metering.rollup")
