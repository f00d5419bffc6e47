"""The way in: facts become events and deliveries, in the transaction of the fact.

One statement for any number of facts. Where no endpoint of the organization wants a fact, it writes nothing.
Facts of one subject are written by whoever holds the subject's row locked (the task, the invoice), so that their numbers
are in the order of their commits; on that rests their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import connection
from django.utils import timezone

from core.wake import wake
from marketplace.webhooks.types import is_type

JOB: Final = "marketplace.send_webhooks"

# An endpoint (e) wants a fact (f) by its type, its family, or because it wants everything; but nothing about itself.
_WANTS: Final = """(e.types && ARRAY[f.type, split_part(f.type, '.', 1) || '.*', '*']::varchar[]
                    AND f.subject <> 'webhook/' || e.id)"""

# A delivery behind one that waits for its next try is due no sooner than that one: then looking for what is due finds it
# once, and not again and again. It is read in the order of the index webhook_order, so that no plan walks all that waits.
# Nothing rests on it: the sweep puts right what a race left late.
_PUBLISH: Final = f"""
, written AS (
  INSERT INTO marketplace_webhookevent (id, organization_id, type, subject, data, occurred_at, key, written_at)
  SELECT uuidv7(), f.organization_id, f.type, f.subject, f.data, f.occurred_at, f.key, %(now)s FROM facts f
   WHERE EXISTS (SELECT FROM marketplace_webhookendpoint e WHERE e.organization_id = f.organization_id AND {_WANTS})
   ORDER BY f.n ON CONFLICT (organization_id, key) DO NOTHING
  RETURNING number, organization_id, type, subject
)
INSERT INTO marketplace_webhookdelivery (event_id, endpoint_id, subject, state, tries, tries_before, due_at, error)
SELECT f.number, e.id, f.subject, 'pending', 0, 0,
       coalesce((SELECT d.due_at FROM marketplace_webhookdelivery d
                  WHERE d.endpoint_id = e.id AND d.subject = f.subject AND d.state = 'pending'
                  ORDER BY d.endpoint_id DESC, d.subject DESC, d.event_id DESC LIMIT 1), %(now)s), ''
  FROM written f JOIN marketplace_webhookendpoint e ON e.organization_id = f.organization_id AND {_WANTS}
 ORDER BY f.number, e.id
RETURNING id
"""
_FACTS: Final = """
WITH facts AS (
  SELECT * FROM unnest(%(organizations)s::bigint[], %(types)s::text[], %(subjects)s::text[], %(data)s::jsonb[],
                       %(occurred)s::timestamptz[], %(keys)s::text[])
           WITH ORDINALITY AS f(organization_id, type, subject, data, occurred_at, key, n)
)
"""
# A task's events carry the task as it is when they are written; joined to endpoints first, so that without one nothing is read.
_TASK_FACTS: Final = r"""
WITH facts AS (
  SELECT t.organization_id, f.type, 'task/' || t.id AS subject, %(now)s::timestamptz AS occurred_at,
         'task/' || t.id || '/' || f.type AS key, f.n,
         jsonb_build_object(
           'id', t.id, 'name', t.name, 'kind', t.kind, 'state', t.state, 'labels', t.labels,
           'capability', o.slug || '/' || c.name || '@' || v.version,
           'reason_class', t.reason_class, 'reason', t.reason, 'units_total', t.units_total, 'units_done', t.units_done,
           'cost', jsonb_build_object('amount', round(t.cost_micros / 1000000.0, 6)::text,
                                      'currency', t.terms->'currency', 'final', t.cost_final),
           'created_at', to_char(t.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'ended_at', to_char(t.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) || f.more AS data
    FROM unnest(%(tasks)s::uuid[], %(types)s::text[], %(data)s::jsonb[]) WITH ORDINALITY AS f(task_id, type, more, n)
    JOIN marketplace_task t ON t.id = f.task_id
    JOIN marketplace_capabilityversion v ON v.id = t.capability_version_id
    JOIN marketplace_capability c ON c.id = v.capability_id JOIN marketplace_organization o ON o.id = c.organization_id
   WHERE EXISTS (SELECT FROM marketplace_webhookendpoint e WHERE e.organization_id = t.organization_id)
)
"""


@dataclass(frozen=True)
class Event:
    """A fact that an organization is told.

    organization  its key
    type          `family.name`, see types.py
    subject       what it happened to, `family/<id>`, at most 120 characters: events of one subject are sent in order
    data          JSON values; money as decimal text, its currency beside it
    occurred_at   when
    key           the fact's own name, at most 200 characters: an organization is told a key once
    """

    organization: int
    type: str
    subject: str
    data: Mapping[str, Any]
    occurred_at: datetime
    key: str


def publish(events: Iterable[Event]) -> int:
    """Write events for those who want them; to be called in the transaction of the facts. One statement.

    Returns how many deliveries that makes. ValueError for a type, subject or key that cannot be.
    """
    listed = list(events)
    for one in listed:
        if not (is_type(one.type) and 0 < len(one.subject) <= 120 and 0 < len(one.key) <= 200):
            raise ValueError(f"{one.type!r} of {one.subject!r} is no event that can be told")
    if not listed:
        return 0
    given = {
        "organizations": [one.organization for one in listed],
        "types": [one.type for one in listed],
        "subjects": [one.subject for one in listed],
        "data": [_json(one.data) for one in listed],
        "occurred": [one.occurred_at for one in listed],
        "keys": [one.key for one in listed],
    }
    return _run(_FACTS, given)


def publish_tasks(events: Iterable[tuple[UUID, str, Mapping[str, Any]]]) -> int:
    """The same for events (task, type, more data) of tasks, whose rows the caller holds locked. One statement."""
    listed = list(events)
    if not listed:
        return 0
    tasks, types, more = zip(*listed, strict=True)
    return _run(_TASK_FACTS, {"tasks": list(tasks), "types": list(types), "data": [_json(one) for one in more]})


def _run(facts: str, given: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(facts + _PUBLISH, given | {"now": timezone.now()})
        made = int(cursor.rowcount)
    if made:
        wake(JOB)
    return made


def _json(data: Mapping[str, Any]) -> str:
    return orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z).decode()
