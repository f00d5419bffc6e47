"""Step 2 of the river, expand (拆解): a task's plan becomes unit rows, 100,000 per statement. May run twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from core.wake import wake
from marketplace.models import Task
from marketplace.policies import Policy
from scheduler.models import Need, Unit
from scheduler.needs import key_of, need_document
from scheduler.sql import rows

CHUNK: Final = 100_000

_INSERT = """
INSERT INTO scheduler_unit (task_id, stage, index, replica, checked, need_id, state, fence, tries, avoid, apart)
SELECT %(task)s, %(stage)s, i, 0, %(checked)s, %(need)s, %(state)s, 0, 0, '{}', '{}'
FROM generate_series(%(start)s::int, %(stop)s::int - 1) AS i
ON CONFLICT (task_id, stage, index, replica) DO NOTHING
"""


def expand_task(task_id: UUID | str) -> int:
    """Write the units a task still lacks, chunk by chunk. Returns how many units exist now."""
    while True:
        with transaction.atomic():
            task = _locked(task_id)
            if task is None or task.units_expanded >= task.units_total:
                return task.units_expanded if task else 0
            _expand_chunk(task)
            wake("scheduler.match")


def _locked(task_id: UUID | str) -> Task | None:
    open_ones = Task.objects.filter(state__in=["queued", "running"], cancel_requested_at=None, reason_class="")
    locked = open_ones.select_for_update(of=("self",), no_key=True).select_related("organization", "capability_version")
    return locked.filter(pk=task_id).first()


def _expand_chunk(task: Task) -> None:
    units, start = task.plan["units"], task.units_expanded
    stop = min(units, start + CHUNK)
    if start < units:
        need = _need(task, stage=Unit.Stage.UNIT)
        _insert(task, Unit.Stage.UNIT, need, "waiting", start, stop)
    if stop == units and task.plan["merge_stage"]:
        need = _need(task, stage=Unit.Stage.MERGE)
        _insert(task, Unit.Stage.MERGE, need, "blocked", 0, 1)
        stop += 1
    Task.objects.filter(pk=task.pk, units_expanded=start).update(units_expanded=stop)


def _insert(task: Task, stage: int, need: int, state: str, start: int, stop: int) -> None:
    policy = Policy.of(task.plan.get("verify"))
    checked = None if policy.adaptive else policy.compares
    params: dict[str, Any] = {"task": task.pk, "stage": int(stage), "need": need, "checked": checked}
    rows(_INSERT, params | {"state": state, "start": start, "stop": stop})


def _need(task: Task, *, stage: int) -> int:
    """The id of the class of a task's units or merge, made when it is the first of its kind."""
    document = need_of(task, stage=stage, inputs=_inputs(task))
    key = key_of(document)
    Need.objects.bulk_create([Need(key=key, document=document)], ignore_conflicts=True)
    return Need.objects.values_list("id", flat=True).get(key=key)


def need_of(task: Task, *, stage: int, inputs: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The need document of a task's stage (also used by quotes, on tasks that are never saved). `inputs`: (sha256, bytes)."""
    return need_document(
        plan=task.plan,
        stage=stage,
        version_id=task.capability_version_id,
        trusted=task.capability_version.trusted,
        organization=task.organization.slug,
        objective=task.objective,
        constraints=task.constraints,
        bytes_in=sum(size for _, size in inputs),
        offers_at=task.priced_at.isoformat(),
        deadline=task.deadline,
        inputs=inputs,
        store=settings.STORE_REGION,
        task=str(task.pk),
        large=settings.LARGE_BYTES,
    )


def _inputs(task: Task) -> list[tuple[str, int]]:
    """SHA-256 and bytes of a task's input files."""
    return list(task.files.values_list("artifact__blob_id", "artifact__blob__bytes"))
