"""Pausing and stopping tasks for money: rows that the placer reads, written from above. Sets in, constant statements.

A paused task begins nothing new: its placed units go back to waiting, and the matcher passes them over until no row of
`TaskPause` names the task. What runs is let run. Tasks whose row somebody else holds are left to the next sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import transaction

from core.wake import wake
from marketplace.models import Task, TaskPause
from scheduler.services.events import add_events
from scheduler.sql import rows

_PAUSE: Final = """
WITH wanted AS (
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS w(task_id, source, detail)
), free AS (
    SELECT id FROM marketplace_task WHERE id IN (SELECT task_id FROM wanted) AND state IN ('queued', 'running')
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
INSERT INTO marketplace_taskpause (task_id, source, detail, paused_at)
SELECT wanted.task_id, wanted.source, wanted.detail, now() FROM wanted JOIN free ON free.id = wanted.task_id
ORDER BY 1, 2 ON CONFLICT (task_id, source) DO NOTHING RETURNING task_id, source, detail
"""
_TAKE_BACK: Final = """
UPDATE scheduler_unit SET state = 'waiting', pool_id = NULL WHERE id IN (
    SELECT id FROM scheduler_unit WHERE task_id = ANY(%s) AND state = 'placed' ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
"""
_RESUME: Final = """
DELETE FROM marketplace_taskpause pause WHERE pause.source LIKE %s AND NOT EXISTS (
    SELECT FROM unnest(%s::uuid[], %s::text[]) AS w(task_id, source)
    WHERE w.task_id = pause.task_id AND w.source = pause.source)
RETURNING pause.task_id
"""
_STOP: Final = """
UPDATE marketplace_task task SET cancel_requested_at = now(), reason_class = 'user_cancel', reason = stopped.detail
FROM unnest(%s::uuid[], %s::text[]) AS stopped(task_id, detail)
WHERE task.id = stopped.task_id AND task.id IN (
    SELECT id FROM marketplace_task WHERE id = ANY(%s) AND state IN ('queued', 'running') AND cancel_requested_at IS NULL
      AND reason_class = '' ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)
RETURNING task.id, task.reason
"""


@dataclass(frozen=True, slots=True)
class Pause:
    """A task that is to be placed nowhere, who says so (`credit`, `budget/7`), and what its owner is told."""

    task: UUID
    source: str
    detail: str


@transaction.atomic
def keep_pauses(kind: str, wanted: Sequence[Pause]) -> tuple[int, int]:
    """Make these the pauses of a kind of source (`credit`, `budget`): pause what is new, resume what is not named any more.

    Returns how many tasks were paused and resumed.
    """
    tasks, sources = [one.task for one in wanted], [one.source for one in wanted]
    resumed = rows(_RESUME, [f"{kind}%", tasks, sources])
    paused = rows(_PAUSE, [tasks, sources, [one.detail[:300] for one in wanted]]) if wanted else []
    if paused:
        rows(_TAKE_BACK, [[task for task, *_ in paused]])
        add_events([(task, "task.paused", {"source": source, "detail": detail}) for task, source, detail in paused])
    if resumed:
        wake("scheduler.match")
    return len(paused), len(resumed)


@transaction.atomic
def stop_tasks(details: Mapping[UUID, str]) -> int:
    """Wish that open tasks end, each for the reason given; the user pays what they cost so far. Returns how many were new."""
    tasks = sorted(details)
    stopped = rows(_STOP, [tasks, [details[task][:500] for task in tasks], tasks]) if tasks else []
    add_events([(task, "task.stopping", {"reason_class": "user_cancel", "reason": reason}) for task, reason in sorted(stopped)])
    for task, _ in stopped:
        wake("scheduler.advance", str(task))
    return len(stopped)


def paused_by(task: Task) -> dict[str, Any] | None:
    """Why a paused task's units wait, as an explanation says it; None for a task that is not paused."""
    pause = TaskPause.objects.filter(task=task).order_by("pk").first()
    if pause is None:
        return None
    waiting = rows("SELECT count(*) FROM scheduler_unit WHERE task_id = %s AND state = 'waiting'", [task.pk])[0][0]
    told = {"units": waiting, "reason": pause.source.partition("/")[0], "detail": pause.detail}
    return told | {"excluded": {}, "candidates": []} if waiting else None
