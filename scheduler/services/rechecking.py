"""After a pool was caught: part of what nobody checked of its last week is run again elsewhere, at the platform's expense.

Units are run again in a task of kind `test` that has the same plan and files and belongs to the same organization, so nobody
else sees its data; apart from all pools of the owner who was caught, within the user's own constraints. What was delivered
stays as it is: a difference counts against the pool, and the task's owner reads of it in the task's events (`unit.doubted`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core.wake import wake
from marketplace.models import Task, TaskArtifact
from marketplace.policies import Policy
from scheduler.models import Attempt, Need, PoolEvent, Recheck
from scheduler.needs import key_of
from scheduler.services.canaries import ONE_RESULT
from scheduler.services.events import add_events
from scheduler.services.groups import Group, Steps
from scheduler.services.validating import Said
from scheduler.snapshots import documents_of
from scheduler.sql import dicts, rows
from scheduler.verification.trust import recheck_size

WINDOW: Final = timedelta(days=7)
LATEST: Final = timedelta(days=1)  # a quarantine that was not followed up within a day is not followed up any more

# Quarantines that nobody has followed up.
_CAUGHT: Final = """
SELECT DISTINCT e.pool_id FROM scheduler_poolevent e WHERE e.kind = 'quarantined' AND e.at > now() - %s
  AND NOT EXISTS (SELECT FROM scheduler_poolevent done
                  WHERE done.pool_id = e.pool_id AND done.kind = 'rechecks' AND done.id > e.id) ORDER BY e.pool_id
"""
# Delivered, unchecked results of versions with which the pool was wrong lately; in an order that nobody can foretell. What only
# a validator could compare is left out.
_SUSPECTS: Final = """
WITH guilty AS (
    SELECT DISTINCT w.pool_id, wt.capability_version_id AS version
    FROM scheduler_attempt w JOIN marketplace_task wt ON wt.id = w.task_id
    WHERE w.pool_id = ANY(%(pools)s) AND w.state = 'invalid' AND w.code <> 'no_consensus' AND w.ended_at > now() - %(window)s
)
SELECT a.id, a.pool_id, a.task_id, guilty.version, u.need_id
FROM guilty JOIN marketplace_task t ON t.capability_version_id = guilty.version
JOIN scheduler_attempt a ON a.task_id = t.id AND a.pool_id = guilty.pool_id JOIN scheduler_unit u ON u.id = a.unit_id
WHERE a.state = 'valid' AND NOT a.checked AND a.ended_at > now() - %(window)s
  AND (t.ended_at IS NULL OR t.ended_at > now() - %(window)s) AND u.state = 'done' AND u.stage = 0
  AND t.plan->'verify'->>'compare' IN ('exact', 'tolerance')
  AND NOT EXISTS (SELECT FROM scheduler_recheck r WHERE r.attempt_id = a.id)
ORDER BY sha256(convert_to(%(secret)s || ':recheck:' || a.id, 'UTF8'))
"""
_AGAIN: Final = """
WITH asked AS (
    INSERT INTO scheduler_unit (task_id, stage, index, replica, checked, need_id, state, fence, tries, avoid, apart)
    SELECT v.task, 0, u.index, 0, true, v.need, 'waiting', 0, 0, '{}',
           ARRAY(SELECT p.id FROM marketplace_pool p JOIN marketplace_pool own ON own.id = a.pool_id
                 WHERE p.organization_id = own.organization_id ORDER BY p.id)
    FROM unnest(%(attempt)s::bigint[], %(task)s::uuid[], %(need)s::bigint[]) AS v(attempt, task, need)
    JOIN scheduler_attempt a ON a.id = v.attempt JOIN scheduler_unit u ON u.id = a.unit_id ORDER BY v.task, u.index
    RETURNING id, task_id, index
)
INSERT INTO scheduler_recheck (attempt_id, unit_id, state, at)
SELECT a.id, asked.id, 'running', now()
FROM unnest(%(attempt)s::bigint[], %(task)s::uuid[]) AS v(attempt, task)
JOIN scheduler_attempt a ON a.id = v.attempt JOIN scheduler_unit u ON u.id = a.unit_id
JOIN asked ON asked.task_id = v.task AND asked.index = u.index
"""
_CLOSE: Final = """
UPDATE scheduler_recheck r SET state = v.state
FROM unnest(%s::bigint[], %s::text[]) AS v(unit, state), scheduler_attempt a, scheduler_unit u, marketplace_task t
WHERE r.unit_id = v.unit AND r.state = 'running' AND a.id = r.attempt_id AND u.id = a.unit_id AND t.id = a.task_id
RETURNING r.state, a.id, a.pool_id, a.task_id, u.index, t.capability_version_id AS version
"""
_GIVEN_UP: Final = """
UPDATE scheduler_recheck r SET state = 'unknown' FROM scheduler_unit u
WHERE r.state = 'running' AND u.id = r.unit_id AND u.state IN ('failed', 'cancelled', 'superseded')
"""


def recheck_caught() -> int:
    """Plan what is to be run again of pools that were put in quarantine. Returns how many results; safe to repeat."""
    rows(_GIVEN_UP)
    with transaction.atomic():
        rows("SELECT pg_advisory_xact_lock(%s)", [0x72656368])  # any constant: "rech"
        pools = [pool for (pool,) in rows(_CAUGHT, [LATEST])]
        if not pools:
            return 0
        suspects = dicts(_SUSPECTS, {"pools": pools, "window": WINDOW, "secret": settings.SECRET_KEY})
        chosen = sample(suspects)
        _run_again(chosen)
        _note(pools, suspects, chosen)
    return len(chosen)


def sample(suspects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of each (pool, version), as many as `recheck_size` wants."""
    listed: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in suspects:
        listed[row["pool_id"], row["version"]].append(row)
    return [row for found in listed.values() for row in found[: recheck_size(len(found))]]


def _run_again(chosen: list[dict[str, Any]]) -> None:
    """One task for each task and pool in question, with a unit for each result."""
    if not chosen:
        return
    needs = _needs({row["need_id"] for row in chosen})
    by_task: dict[tuple[UUID, int], list[dict[str, Any]]] = defaultdict(list)
    for row in chosen:
        by_task[row["task_id"], row["pool_id"]].append(row)
    originals = Task.objects.in_bulk({task for task, _ in by_task})
    again = {key: _task_again(originals[key[0]], len(listed)) for key, listed in by_task.items()}
    Task.objects.bulk_create(again.values())
    files = TaskArtifact.objects.filter(task_id__in=originals)
    by_original: dict[UUID, list[TaskArtifact]] = defaultdict(list)
    for file in files:
        by_original[file.task_id].append(file)
    TaskArtifact.objects.bulk_create(
        TaskArtifact(task=task, artifact_id=file.artifact_id, path=file.path, field=file.field)
        for (original, _), task in again.items()
        for file in by_original[original]
    )
    add_events((task.pk, "task.submitted", {"units": task.units_total}) for task in again.values())
    columns: dict[str, list[Any]] = {"attempt": [row["id"] for row in chosen], "need": [needs[row["need_id"]] for row in chosen]}
    rows(_AGAIN, columns | {"task": [again[row["task_id"], row["pool_id"]].pk for row in chosen]})
    wake("scheduler.match")


def _task_again(original: Task, units: int) -> Task:
    """A task that runs some units of another one again, all of them written at once."""
    kept = ("organization_id", "capability_version_id", "inputs", "objective", "constraints", "terms", "priced_at")
    first_stage = {name: value for name, value in original.plan.items() if name != "stages"}
    return Task(
        **{name: getattr(original, name) for name in (*kept, "request_digest")},
        kind=Task.Kind.TEST,
        name=f"{units} units of {original.pk} again",
        labels={"recheck": str(original.pk)},
        plan=first_stage | {"verify": ONE_RESULT.document(), "merge": False, "merge_stage": None},
        units_total=units,
        units_expanded=units,
        created_at=timezone.now(),
    )


def _needs(wanted: set[int]) -> dict[int, int]:
    """The same needs on the platform's account: without the user's price cap, deadline and gang. Where it may run stays.

    A difference counts against somebody else, and nobody compares a third: it is not for pools on probation or unproven ones.
    """
    own = ("deadline", "gang", "verified")
    free = {
        need: {name: value for name, value in document.items() if name not in own} | {"cap": None}
        for need, document in documents_of(wanted).items()
    }
    keys = {need: key_of(document) for need, document in free.items()}
    Need.objects.bulk_create([Need(key=keys[need], document=one) for need, one in free.items()], ignore_conflicts=True)
    made = dict(Need.objects.filter(key__in=set(keys.values())).values_list("key", "id"))
    return {need: made[key] for need, key in keys.items()}


def _note(pools: list[int], suspects: list[dict[str, Any]], chosen: list[dict[str, Any]]) -> None:
    """An event of each pool, which also says that its quarantine was followed up."""
    now, kind = timezone.now(), PoolEvent.Kind.RECHECKS
    counts = {pool: [sum(row["pool_id"] == pool for row in listed) for listed in (chosen, suspects)] for pool in pools}
    PoolEvent.objects.bulk_create(
        PoolEvent(pool_id=pool, kind=kind, detail=f"{again} of {whole} unchecked results of the last week are run again", at=now)
        for pool, (again, whole) in counts.items()
    )


# -- the verdict ------------------------------------------------------------------------------------------------------


def judge_again(group: Group, said: Said, steps: Steps) -> None:
    """Compare what was run again with what was delivered.

    A difference says that one of the two is wrong, and the one that was caught is not the one to believe: it counts
    against that pool; the other is neither praised nor blamed.
    """
    unit, again = group.members[0], group.reported()[0]["id"]
    same = said.same(said.ballot(unit["rechecks"]), said.ballot(again))
    steps.verdicts.append((again, "valid", "", "" if same else "rechecked", ""))
    steps.units.append((unit["id"], "done", "", 0))
    steps.rechecked.append((unit["id"], Recheck.State.SAME if same else Recheck.State.DIFFERENT))


def policies_of(attempts: list[int]) -> dict[int, Policy]:
    """How the results of these delivered attempts are compared."""
    found = Attempt.objects.filter(pk__in=attempts).values_list("pk", "task__plan__verify") if attempts else ()
    return {attempt: Policy.of(verify) for attempt, verify in found}


def close_rechecks(rechecked: list[tuple[int, str]]) -> list[dict[str, Any]]:
    """Write outcomes. Returns the delivered results that are in doubt: id (of the attempt), pool_id, task_id, index, version."""
    if not rechecked:
        return []
    units, states = zip(*rechecked, strict=True)
    return [row for row in dicts(_CLOSE, [list(units), list(states)]) if row["state"] == Recheck.State.DIFFERENT]


def tell_of_doubts(doubts: list[dict[str, Any]]) -> None:
    """The tasks' owners and the pools' owners hear of it. Who calls has locked the tasks."""
    now, kind = timezone.now(), PoolEvent.Kind.DOUBTED
    detail = "run again on a pool of another owner, this unit gave another result; what was delivered stays as it is"
    said = [(row["task_id"], {"index": row["index"], "attempt": row["id"], "detail": detail}) for row in doubts]
    add_events((task, "unit.doubted", data) for task, data in said)
    PoolEvent.objects.bulk_create(
        PoolEvent(pool_id=row["pool_id"], kind=kind, detail=f"attempt {row['id']}: run again, the result was another", at=now)
        for row in doubts
    )
