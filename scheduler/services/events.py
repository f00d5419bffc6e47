"""A task's events: numbered from 1 without gaps, written with the change they tell of, announced on commit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

import orjson

from marketplace.webhooks.outbox import publish_tasks
from scheduler.sql import rows

CHANNEL: Final = "gridfare_task"
ENDS: Final = frozenset({"task.delivered", "task.failed", "task.cancelled", "task.expired"})  # what webhooks tell

# Callers hold the task's row lock (they have just changed it), so numbers do not collide; a caller that does
# not is refused by the unique constraint and repeats.
_INSERT = """
INSERT INTO marketplace_taskevent (task_id, seq, kind, data, at)
SELECT e.task_id, coalesce((SELECT max(seq) FROM marketplace_taskevent x WHERE x.task_id = e.task_id), 0)
       + row_number() OVER (PARTITION BY e.task_id ORDER BY e.n), e.kind, e.data::jsonb, now()
FROM unnest(%s::uuid[], %s::text[], %s::text[]) WITH ORDINALITY AS e(task_id, kind, data, n)
"""


def add_events(events: Iterable[tuple[UUID, str, dict[str, Any]]]) -> None:
    """Write events (task, kind, data) and wake who listens to these tasks; endpoints of webhooks are told of ends."""
    listed = list(events)
    if not listed:
        return
    tasks, kinds, data = zip(*listed, strict=True)
    rows(_INSERT, [list(tasks), list(kinds), [orjson.dumps(one).decode() for one in data]])
    rows("SELECT pg_notify(%s, t::text) FROM unnest(%s::uuid[]) t", [CHANNEL, sorted(set(tasks))])
    publish_tasks(event for event in listed if event[1] in ENDS)
