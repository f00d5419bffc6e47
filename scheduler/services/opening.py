"""Tasks whose units come into being by and by: what may exist next, when what had to come first is there.

    waits for other tasks' results   → all there: its files resolve, and its first units may exist (`referring.py`)
    a probe runs                     → done, or out of time: the rest of the first stage
    a stage runs                     → all its units done: the units of the next one

`units_open` on the task says how many may exist; every step is a guarded UPDATE from the number that was read, so that two who
take the same step take it once.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from core.wake import wake
from marketplace.models import Task
from marketplace.stages import OVER, borders, next_border, stage_names, stages_of
from scheduler.services.events import add_events
from scheduler.services.pioneering import is_probing, probe_is_over
from scheduler.services.referring import describe_needed, resolve
from scheduler.specs import units_index
from scheduler.stores import store_bytes


def open_more(task: Task) -> bool:
    """Let a task's next units come into being, if what they wait for is there. True when they may exist now."""
    if task.units_open == 0:
        return resolve(task)
    if is_probing(task):
        return probe_is_over(task, timezone.now()) and _open(task, _after_probe(task), "task.probed", {})
    border = task.units_open
    if border is None or task.units_done < border or border >= task.units_total:
        return False
    return _next_stage(task, border)


def _after_probe(task: Task) -> int:
    return int(task.plan["units"]) if task.plan.get("stages") else task.units_total


def _next_stage(task: Task, border: int) -> bool:
    """Every unit so far is done: write down what the next stage will find, where it gets all of it."""
    number = borders(task.plan).index(border) + 1
    parts = stages_of(task.plan)
    if parts[number]["split"]["by"] not in OVER:
        blob = store_bytes(orjson.dumps(units_index(task.pk, parts[number - 1], number - 1)))  # may be repeated
        Task.objects.filter(pk=task.pk).update(units_index={"sha256": blob.sha256, "bytes": blob.bytes})
    told = {"stage": stage_names(task.plan)[number], "units": parts[number]["units"]}
    return _open(task, next_border(task.plan, border), "task.stage", told)


def _open(task: Task, count: int, event: str, told: dict[str, Any]) -> bool:
    with transaction.atomic():
        open_ones = Task.objects.filter(pk=task.pk, units_open=task.units_open, state__in=["queued", "running"])
        if not open_ones.update(units_open=count):
            return False
        add_events([(task.pk, event, told)])
        wake("scheduler.expand", str(task.pk))
    return True


def held_back(task: Task) -> dict[str, Any] | None:
    """Why units of an open task do not exist yet although nothing of it waits for a pool; None where that is no news."""
    reason = detail = None
    if task.ended_at is None and task.units_open == 0:
        reason, detail = "waiting_for_task", describe_needed(task)
    elif task.ended_at is None and is_probing(task):
        reason, detail = "probing", "nobody knows yet what a unit takes: one runs first, to be measured, for two minutes at most"
    if reason is None:
        return None
    return {"units": task.units_total - task.units_done, "reason": reason, "detail": detail, "excluded": {}, "candidates": []}


def tasks_waiting_for(task_id: UUID) -> list[UUID]:
    """Open tasks that wait for this one's result."""
    waiting = Task.objects.filter(references__needs=task_id, units_open=0, state__in=["queued", "running"])
    return list(waiting.order_by("id").values_list("id", flat=True).distinct())
