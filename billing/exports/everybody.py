"""Everybody's statements, for operators: each party's lines beside one another, from what was charged in the window.

The columns are those of one's own statement (`billing.queries`), and so are its lines: a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from django.conf import settings
from django.db import connection

from billing.exports.sources import PORTION, Question, Row
from billing.queries import GROUPS, KEYS, PARTIES, PERIOD_KEYS, QUANTITIES, priced_line

_SHARES: Final = ", ".join(f"('{name}', charge.{of.column}, {of.share})" for name, of in PARTIES.items())
_PARTS: Final = f"""
  CROSS JOIN LATERAL (VALUES {_SHARES}) part (party, organization_id, micros)
  JOIN marketplace_organization whose ON whose.id = part.organization_id"""
_ZONE: Final = "coalesce(nullif(whose.zone, ''), %(zone)s)"
_OF_TASKS: Final = f"""
  FROM billing_charge charge
  JOIN marketplace_task task ON task.id = charge.task_id
  JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id
  JOIN marketplace_capability capability ON capability.id = version.capability_id
  JOIN marketplace_organization publisher ON publisher.id = capability.organization_id
  JOIN marketplace_organization customer ON customer.id = task.organization_id
  LEFT JOIN metering_usagerecord usage ON usage.id = charge.usage_id
  LEFT JOIN marketplace_pool pool ON pool.id = usage.pool_id{_PARTS}
 WHERE charge.charged_at >= %(start)s AND charge.charged_at < %(end)s AND charge.currency = %(currency)s AND part.micros <> 0"""
_OF_MONTHS: Final = f"""
  FROM billing_periodcharge charge
  LEFT JOIN marketplace_offer offer ON offer.id = charge.offer_id LEFT JOIN marketplace_pool pool ON pool.id = offer.pool_id
  LEFT JOIN marketplace_capabilityversion version ON version.id = charge.version_id
  LEFT JOIN marketplace_capability capability ON capability.id = version.capability_id
  LEFT JOIN marketplace_organization publisher ON publisher.id = charge.publisher_id
  JOIN marketplace_organization customer ON customer.id = charge.organization_id{_PARTS}
 WHERE charge.rated_at >= %(start)s AND charge.rated_at < %(end)s AND charge.currency = %(currency)s AND part.micros <> 0"""
_COUNT: Final = f"SELECT count(*) FROM (SELECT 1{_OF_TASKS} UNION ALL SELECT 1{_OF_MONTHS} LIMIT %(most)s) lines"


def _select(group: str) -> str:
    """One statement, so that the file is one snapshot: tasks' lines and months', in the order of their party, owner and keys."""
    keys, sums = GROUPS[group], "sum(charge.amount_micros)::bigint, sum(part.micros)::bigint"
    numbers = ", ".join(str(number + 1) for number in range(len(keys) + 2))
    nothing = ", ".join("0" if name in {"units", "attempts"} else "'0'" for name in QUANTITIES)

    def grouped(names: dict[str, str], quantities: str, source: str) -> str:
        columns = ", ".join(names[key].replace("%(zone)s", _ZONE) for key in keys)
        return f"SELECT part.party, whose.slug, {columns}, {quantities}, {sums}{source} GROUP BY {numbers}"

    tasks = grouped(KEYS, ", ".join(QUANTITIES.values()), _OF_TASKS)
    months = grouped(PERIOD_KEYS, nothing, _OF_MONTHS)
    return f"({tasks}) UNION ALL ({months}) ORDER BY {numbers}, {len(keys) + len(QUANTITIES) + 4}"


def lines_of_everybody(question: Question) -> Iterator[Row]:
    """Every party's lines through a cursor of the server, as `queries.flow_of` has one's own, with `party` and `owner` first."""
    names = ("party", "owner", *GROUPS[question.group_by], *QUANTITIES, "amount", "share")
    with closing(connection.chunked_cursor()) as cursor:
        cursor.execute(_select(question.group_by), _arguments(question))
        while portion := cursor.fetchmany(PORTION):
            yield from (priced_line(dict(zip(names, row, strict=True))) for row in portion)


def count_for_everybody(question: Question, most: int) -> int | None:
    """How many shares of charges there are, of which there are at least as many as lines; None beyond `most`."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, _arguments(question) | {"most": most + 1})
        found = int(cursor.fetchone()[0])
    return found if found <= most else None


def _arguments(question: Question) -> dict[str, Any]:
    return {"start": question.start, "end": question.end, "currency": question.currency, "zone": settings.USAGE_ZONE}
