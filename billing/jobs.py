"""Billing's jobs, woken when a task ends or is measured, and by a sweep. Thin: `services.py` does the work."""

from __future__ import annotations

import time
from uuid import UUID

from celery import shared_task

from billing.services import charge_task, charge_tasks, refresh_costs, unsettled_tasks
from core.wake import awake

SECONDS = 60  # a sweep gives its place back after this long; the next one goes on


@shared_task(name="billing.charge")
def charge_job(task: str) -> None:
    """Charge one ended task. Not ready yet is no error: what makes it ready wakes this again."""
    awake("billing.charge", task)
    charge_task(UUID(task))


@shared_task(name="billing.sweep")
def sweep_job() -> None:
    """Charge what ended and was not charged, then tell open tasks what they cost so far."""
    awake("billing.sweep")
    until = time.monotonic() + SECONDS
    tasks = unsettled_tasks()
    while tasks and time.monotonic() < until:
        charge_tasks(tasks)
        tasks = unsettled_tasks(after=tasks[-1])
    refresh_costs()
