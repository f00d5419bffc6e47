"""The outbox read from the other side: events for those who ask instead of being told.

A reader goes on behind the last event it has seen. Events of transactions that still run are not shown, and the order is that
of (transaction, number): nothing can appear behind what a reader has passed. Events are there while the organization has an
endpoint that wants them, also one that is disabled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.db import connection

from core.errors import Invalid

MOST: Final = 500
_CURSOR: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,18})")

# Transactions of other databases of this server write nothing here, so that they hold up nobody.
_READ: Final = """
WITH horizon AS MATERIALIZED (
  SELECT coalesce((SELECT min(running::text::bigint) FROM pg_snapshot_xip(now.seen) running
                    WHERE NOT EXISTS (SELECT FROM pg_stat_activity other
                                       WHERE other.datname <> current_database() AND other.backend_xid = running::xid)),
                  pg_snapshot_xmax(now.seen)::text::bigint)::text::xid8 AS below
    FROM (SELECT pg_current_snapshot() AS seen OFFSET 0) now
)
SELECT v.id, v.type, v.subject, v.occurred_at, v.data::text, v.written_by::text || '-' || v.number
  FROM marketplace_webhookevent v, horizon
 WHERE v.organization_id = %(organization)s AND (v.written_by, v.number) > (%(transaction)s::text::xid8, %(number)s)
   AND (v.written_by < horizon.below OR v.written_by = pg_current_xact_id_if_assigned())
   AND (cardinality(%(types)s::text[]) = 0 OR v.type = ANY(%(types)s) OR split_part(v.type, '.', 1) || '.*' = ANY(%(types)s))
 ORDER BY v.written_by, v.number LIMIT %(most)s
"""


@dataclass(frozen=True)
class Page:
    """Events (`id`, `type`, `subject`, `timestamp`, `data`), and where to go on."""

    events: list[dict[str, Any]]
    after: str


def events_after(organization: int, after: str = "", *, types: Sequence[str] = (), most: int = 100) -> Page:
    """An organization's events behind a cursor, oldest first; "" begins with the oldest that is kept.

    Raises Invalid `invalid_cursor`.
    """
    match = _CURSOR.fullmatch(after or "0-0")
    if match is None or int(match[1]) >= 2**63:
        raise Invalid("invalid_cursor", "no event was ever given out with this cursor", field="after")
    given = {"organization": organization, "transaction": match[1], "number": int(match[2])}
    with connection.cursor() as cursor:
        cursor.execute(_READ, given | {"types": list(types), "most": most})
        rows = cursor.fetchall()
    events = [
        {"id": id_, "type": kind, "subject": subject, "timestamp": at, "data": orjson.loads(data)}
        for id_, kind, subject, at, data, _ in rows
    ]
    return Page(events, rows[-1][-1] if rows else after)
