"""Between settle and deliver: what a task does next, decided from its rows, one task at a time, may run twice.

    what its next units wait for is there → they may exist (`opening.py`)
    all units done, a merge blocked   → the merge waits for a pool
    everything done                   → deliver
    a unit failed for good            → the task is failing: the rest is cancelled, then FAILED
    the user wished to cancel         → the rest is cancelled, then CANCELLED
    the deadline passed               → the rest is cancelled, then EXPIRED

A task that ends badly keeps waiting for its live attempts: they are told to stop at their next sync, or their
leases run out. `reason_class` is written at once, the final state when nothing lives any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction
from django.utils import timezone

from core.errors import Conflict, DomainError
from core.wake import wake
from marketplace.models import Task
from marketplace.stages import MERGE, VALIDATES, stage_name
from scheduler.models import Attempt, Unit
from scheduler.services.delivering import deliver_task
from scheduler.services.events import add_events
from scheduler.services.opening import open_more, tasks_waiting_for
from scheduler.services.pioneering import PROBE_BOUND
from scheduler.services.placing import notify_pool
from scheduler.services.referring import hopeless
from scheduler.specs import units_index
from scheduler.sql import dicts, rows
from scheduler.stores import store_bytes

_COUNTS: Final = f"""
SELECT count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE stage = 0 AND state = 'done') AS units_done,
       count(*) FILTER (WHERE stage < {VALIDATES} AND state = 'done') AS done,
       count(*) FILTER (WHERE stage = 1 AND state = 'blocked' AND fence = 0 AND replica = 0) AS merges_blocked
FROM scheduler_unit WHERE task_id = %s
"""
# The attempt that decided: the last one of a failed unit; of several such units the one that was decided first.
_FAILURE: Final = """
SELECT * FROM (
    SELECT DISTINCT ON (u.id) a.id, a.reason_class, a.code, a.detail, u.stage, u.index
    FROM scheduler_unit u LEFT JOIN scheduler_attempt a ON a.unit_id = u.id AND a.task_id = u.task_id
    WHERE u.task_id = %s AND u.state = 'failed' ORDER BY u.id, a.id DESC
) decided ORDER BY id LIMIT 1
"""
# Steps that hold a unit may be waiting for the task, which is locked here: what they hold is left to the next look.
_CANCEL_UNITS: Final = """
UPDATE scheduler_unit SET state = 'cancelled' WHERE id IN (
    SELECT id FROM scheduler_unit WHERE task_id = %s AND state IN ('blocked', 'waiting', 'placed', 'reported')
    FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id
"""
# Results that nobody will compare any more: whoever made them is paid by the platform, but not who broke a commitment.
_CLOSE_UNJUDGED: Final = """
WITH closed AS (
    UPDATE scheduler_attempt a
    SET (state, reason_class, code) = (
        SELECT CASE WHEN lied THEN 'invalid' ELSE 'superseded' END, CASE WHEN lied THEN 'invalid_result' ELSE 'superseded' END,
               CASE WHEN lied THEN 'broken_commitment' ELSE a.code END
        FROM (SELECT EXISTS (
            SELECT FROM scheduler_commitment c WHERE c.attempt_id = a.id AND c.state = 'broken') AS lied) AS said)
    WHERE a.task_id = %s AND a.unit_id = ANY(%s) AND a.state = 'reported' RETURNING a.id
)
INSERT INTO scheduler_ended (attempt_id, at) SELECT id, now() FROM closed
"""
_OPEN_UNIT: Final = """
SELECT 1 FROM scheduler_unit WHERE task_id = %s AND state NOT IN ('done', 'failed', 'cancelled', 'superseded') LIMIT 1
"""
ENDINGS: Final = {"user_cancel": Task.State.CANCELLED, "deadline": Task.State.EXPIRED}


@dataclass(frozen=True)
class Ending:
    """Why a task ends without a result."""

    reason_class: str
    reason: str


def advance_task(task_id: UUID | str) -> str | None:
    """Take a task's next step, if it has one. Returns the task's state, None for an unknown or ended one."""
    with transaction.atomic():
        task = _lock_open(task_id)
        if task is None:
            return None
        ending = _ending_of(task)
        if ending is not None:
            return _end_badly(task, ending)
        counts = dicts(_COUNTS, [task.pk])[0] if _maybe_whole(task) else None
    if counts is not None:
        return _forward(task, counts)
    return task.state if task.units_open is None else _open_more(task)


def _open_more(task: Task) -> str:
    """Its next units, if what they wait for is there; a task whose inputs came and cannot be used fails."""
    try:
        open_more(task)
    except DomainError as refused:
        with transaction.atomic():
            locked = _lock_open(task.pk)
            if locked is not None:
                return _end_badly(locked, Ending("capability_error", refused.detail[:500]))
    return task.state


def _lock_open(task_id: UUID | str) -> Task | None:
    """Locked against other changes, but not against rows that name it: leases go on meanwhile."""
    open_ones = Task.objects.filter(pk=task_id, state__in=["queued", "running"])
    return open_ones.select_for_update(no_key=True).first()


def _maybe_whole(task: Task) -> bool:
    return task.units_done >= task.plan["units"] and task.units_expanded == task.units_total


def _ending_of(task: Task) -> Ending | None:
    if task.reason_class:  # the first cause stands, whatever comes while it waits for its attempts
        return Ending(task.reason_class, task.reason)
    if task.cancel_requested_at is not None:
        return Ending("user_cancel", "cancelled by the user")
    if task.deadline is not None and task.deadline <= timezone.now():
        return Ending("deadline", "the deadline passed before the result was there")
    if task.units_open == 0 and (reason := hopeless(task)) is not None:
        return Ending("capability_error", reason[:500])
    found = dicts(_FAILURE, [task.pk]) if _any_failed(task.pk) else []
    return _failure(found[0], task) if found else None


def _any_failed(task_id: UUID) -> bool:
    return Unit.objects.filter(task_id=task_id, state=Unit.State.FAILED).exists()


def _failure(row: dict[str, Any], task: Task) -> Ending:
    validates, stage = divmod(row["stage"], VALIDATES)
    name = stage_name(task.plan, stage)
    part = f"the {MERGE}" if name == MERGE else f"{name} {row['index']}"
    part = f"the validator of {part}" if validates else part
    untold = "given back by its pools, again and again" if row["id"] else "no pool of another owner can run it"
    told = row["detail"] or row["code"] or row["reason_class"] or untold
    return Ending(row["reason_class"] or "platform_fault", f"{part}: {told}"[:500])


def _end_badly(task: Task, ending: Ending) -> str:
    """Cancel what does not run, ask the rest to stop, and end the task once nothing lives."""
    cancelled = [unit for (unit,) in rows(_CANCEL_UNITS, [task.pk])]
    if cancelled and task.plan.get("verify", "none") != "none":
        rows(_CLOSE_UNJUDGED, [task.pk, cancelled])
    if not task.reason_class:
        Task.objects.filter(pk=task.pk).update(reason_class=ending.reason_class, reason=ending.reason)
        add_events([(task.pk, "task.stopping", {"reason_class": ending.reason_class, "reason": ending.reason})])
    if rows(_OPEN_UNIT, [task.pk]):
        live = Attempt.objects.filter(task=task, state__in=Attempt.LIVE)
        for pool_id in sorted(live.values_list("pool_id", flat=True).distinct()):
            notify_pool(pool_id)
        return task.state
    state = ENDINGS.get(ending.reason_class, Task.State.FAILED)
    end_task(task.pk, state, ending)
    return state


def end_task(task_id: UUID, state: str, ending: Ending) -> bool:
    """Write a task's bad end, guarded; its usage is charged next, by the reason table."""
    moved = Task.objects.filter(pk=task_id, state__in=["queued", "running"]).update(
        state=state, ended_at=timezone.now(), reason_class=ending.reason_class, reason=ending.reason
    )
    if moved:
        add_events([(task_id, f"task.{state}", {"reason_class": ending.reason_class, "reason": ending.reason})])
        after_end(task_id)
    return bool(moved)


def after_end(task_id: UUID) -> None:
    """What follows any end: measuring, charging, and a version's tests that may now be over."""
    wake("metering.measure")
    wake("billing.charge", str(task_id))
    wake("scheduler.conclude", str(task_id))
    for waiting in tasks_waiting_for(task_id):
        wake("scheduler.advance", str(waiting))


def _forward(task: Task, counts: dict[str, Any]) -> str:
    if counts["merges_blocked"] and counts["units_done"] == task.plan["units"]:
        _unblock_merge(task)
        return task.state
    if counts["done"] == task.units_total:
        if deliver_task(task):
            after_end(task.pk)
        task.refresh_from_db(fields=["state"])  # somebody may have been quicker, or wished to cancel
    return task.state


def _unblock_merge(task: Task) -> None:
    """All units are done: write down what the merge will find, then let it wait for a pool."""
    content = orjson.dumps(units_index(task.pk, task.plan))
    blob = store_bytes(content)  # outside the transaction: storing may take long, and may be repeated
    with transaction.atomic():
        Task.objects.filter(pk=task.pk).update(units_index={"sha256": blob.sha256, "bytes": blob.bytes})
        blocked = Unit.objects.filter(task=task, stage=Unit.Stage.MERGE, state=Unit.State.BLOCKED, fence=0, replica=0)
        if blocked.update(state=Unit.State.WAITING):
            add_events([(task.pk, "task.merging", {})])
            wake("scheduler.match")


def cancel_task(task_id: UUID) -> Task:
    """Record the user's wish. The task ends when its attempts are known dead. Raises Conflict when it has ended."""
    with transaction.atomic():
        open_ones = Task.objects.filter(pk=task_id, state__in=["queued", "running"])
        wished = open_ones.filter(cancel_requested_at=None).update(cancel_requested_at=timezone.now())
        task = Task.objects.get(pk=task_id)
        if not wished and task.cancel_requested_at is None:
            raise Conflict("task_has_ended", f"the task is {task.state} already", state=task.state)
        if wished:
            add_events([(task_id, "task.cancel_requested", {})])
    advance_task(task_id)
    return Task.objects.get(pk=task_id)


def tasks_to_advance(now: datetime, limit: int = 500) -> list[UUID]:
    """The sweep's question: open tasks that may have a next step which nobody took."""
    sql = """
        SELECT t.id FROM marketplace_task t WHERE t.state IN ('queued', 'running') AND (
            t.cancel_requested_at IS NOT NULL OR t.reason_class <> '' OR t.deadline <= %s
            OR t.units_done >= (t.plan->>'units')::int AND t.units_done >= coalesce(t.units_open, 0)
            OR t.units_open > 0 AND t.units_done >= t.units_open
            OR t.units_open = 1 AND NOT t.probing_until BETWEEN %s AND %s
            OR t.units_open = 0 AND NOT EXISTS (
                SELECT 1 FROM marketplace_taskreference r JOIN marketplace_task n ON n.id = r.needs_id
                WHERE r.task_id = t.id AND n.ended_at IS NULL)
            OR EXISTS (SELECT 1 FROM scheduler_unit u WHERE u.task_id = t.id AND u.state = 'failed')
        ) ORDER BY t.id LIMIT %s
    """
    return [task_id for (task_id,) in rows(sql, [now, now, now + PROBE_BOUND, limit])]
