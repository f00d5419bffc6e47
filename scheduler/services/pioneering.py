"""A probe: where nobody knows what a unit takes, one runs first, to be measured, before the others are even made.

Nothing is known when no unit of the capability version has ever ended well, on any pool, and its manifest's model says nothing
(`tflop` 0) or says that it guesses (`unsure: true`). The rest of the task's units come into being when the probe is done, or when
PROBE_BOUND has passed: a probe that hangs must not hold a task for ever. A clock that was set back ends it at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from marketplace.models import Task
from scheduler.demand import is_known

PROBE_FROM: Final = 16  # units; fewer are over before a measurement would pay
PROBE_BOUND: Final = timedelta(minutes=2)


def begin_probe(task: Task) -> None:
    """Let a task begin with one unit, if nothing is known of what its units take. `task` is locked, and changed with its row."""
    if task.units_expanded or task.probing_until is not None or task.units_open == 0 or not _guesses(task):
        return
    if is_known(task.capability_version_id):
        return
    task.units_open, task.probing_until = 1, timezone.now() + PROBE_BOUND
    Task.objects.filter(pk=task.pk).update(units_open=task.units_open, probing_until=task.probing_until)


def _guesses(task: Task) -> bool:
    plan = task.plan
    if plan["units"] < PROBE_FROM or plan.get("gang"):  # a gang starts together or not at all
        return False
    return bool(plan.get("unsure") or float(plan["tflop"]) == 0)


def is_probing(task: Task) -> bool:
    """Is only its probe there, so far?"""
    return task.units_open == 1 and task.probing_until is not None and task.plan["units"] > 1


def probe_is_over(task: Task, now: datetime) -> bool:
    """Done, or out of time; `probing_until` further away than any probe may take means that the clock was set back."""
    until = task.probing_until
    return until is None or task.units_done > 0 or not now < until <= now + PROBE_BOUND
