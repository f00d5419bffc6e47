"""Step 2 of the river, expand (拆解): a task's plan becomes unit rows, 100,000 per statement. May run twice.

A task's units come into being by and by, up to `units_open`: none while it waits for another task's result, one while a probe
runs, the units of the next stage when those of the stage before are done (`advancing.py` opens them). Without a bound all at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import Jsonb

from marketplace.models import Task
from marketplace.policies import Policy
from marketplace.stages import borders
from scheduler.models import Need
from scheduler.needs import key_of, need_document
from scheduler.services.pioneering import begin_probe
from scheduler.sql import rows

CHUNK: Final = 100_000

_INSERT = """
INSERT INTO scheduler_unit (task_id, stage, index, replica, checked, need_id, state, fence, tries, avoid, apart)
SELECT %(task)s, %(stage)s, i, 0, %(checked)s, %(need)s, %(state)s, 0, 0, '{}',
       CASE WHEN %(only)s::bigint IS NULL THEN '{}' ELSE ARRAY(SELECT id FROM marketplace_pool WHERE id <> %(only)s ORDER BY id) END
FROM generate_series(%(start)s::int, %(stop)s::int - 1) AS i
ON CONFLICT (task_id, stage, index, replica) DO NOTHING
"""

_NEED = """
WITH made AS (
    INSERT INTO scheduler_need (key, document, created_at)
    VALUES (%(key)s, %(document)s, now()) ON CONFLICT (key) DO NOTHING RETURNING id
)
SELECT id FROM made UNION ALL SELECT id FROM scheduler_need WHERE key = %(key)s LIMIT 1
"""


def expand_task(task_id: UUID | str) -> int:
    """Write the units that a task lacks and that may exist by now, chunk by chunk. Returns how many units exist now.

    Who calls it sees to it that a round follows: the job runs one itself, at once.
    """
    while True:
        with transaction.atomic():
            task = _locked(task_id)
            if task is None:
                return 0
            begin_probe(task)
            if task.units_expanded >= _may_exist(task):
                return task.units_expanded
            _expand_chunk(task)


def _may_exist(task: Task) -> int:
    return task.units_total if task.units_open is None else min(task.units_open, task.units_total)


def _locked(task_id: UUID | str) -> Task | None:
    open_ones = Task.objects.filter(state__in=["queued", "running"], cancel_requested_at=None, reason_class="")
    locked = open_ones.select_for_update(of=("self",), no_key=True).select_related("organization", "capability_version")
    return locked.filter(pk=task_id).first()


def _expand_chunk(task: Task) -> None:
    """The next units of the stage that is not whole yet. A merge is made with the others, and waits for them."""
    made, listed = task.units_expanded, borders(task.plan)
    stage = next(number for number, border in enumerate(listed) if made < border)
    first = listed[stage - 1] if stage else 0
    stop = min(listed[stage], _may_exist(task), made + CHUNK)
    state = "blocked" if stage and task.plan["merge_stage"] else "waiting"
    _insert(task, stage, _need(task, stage=stage), state, made - first, stop - first)
    Task.objects.filter(pk=task.pk, units_expanded=made).update(units_expanded=stop)


def _insert(task: Task, stage: int, need: int, state: str, start: int, stop: int) -> None:
    policy = Policy.of(task.plan.get("verify"))
    only = task.plan.get("only")  # a canary's units, of every stage, are one pool's, and all of them checked
    checked = None if policy.adaptive and only is None else policy.compares
    params: dict[str, Any] = {"task": task.pk, "stage": int(stage), "need": need, "checked": checked, "only": only}
    rows(_INSERT, params | {"state": state, "start": start, "stop": stop})


def _need(task: Task, *, stage: int) -> int:
    """The id of the class of a task's units or merge, made when it is the first of its kind."""
    document = need_of(task, stage=stage, inputs=_inputs(task))
    key = key_of(document)
    made = rows(_NEED, {"key": key, "document": Jsonb(document)})
    return int(made[0][0]) if made else Need.objects.values_list("id", flat=True).get(key=key)  # it came in just now


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
