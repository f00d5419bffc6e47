"""What was used, by whatever one asks: over usage records and accepted events, in any window.

An attempt's usage belongs to the moment at which it ended, an event's to the moment at which it happened.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson
from django.db import connection

from core.errors import Invalid
from metering.events.quantities import FROM_EVENTS, GAP, QUANTITY

# The meters of a usage record: name, unit, and how it comes from the record's columns.
METERS: Final = {
    "core_second": ("second", "usage.core_ms * 0.001"),
    "accelerator_second": ("second", "usage.accelerator_ms * 0.001"),
    "fp32_tflop": ("tflop", "usage.fp32_gflop * 0.001"),
    "gb_moved": ("gb", "(usage.bytes_in::numeric + usage.bytes_out) * 0.000000001"),
    "occupancy_second": ("second", "usage.held_core_ms * 0.001"),
    "results": ("result", "(usage.outcome = 'valid' AND usage.stage = 0)::int::numeric"),
    "wall": ("second", "usage.wall_ms * 0.001"),
}
_LABEL: Final = re.compile(r"label:[^\x00-\x1f\x7f]{1,63}")

# group -> (of a record, of an event); both text, '' for what has none
_GROUPS: Final = {
    "organization": ("customer.slug", "customer.slug"),
    "capability": ("publisher.slug || '/' || capability.name || '@' || version.version", "''"),
    "pool": ("pool.identifier", "pool.identifier"),
    "region": ("region.code", "region.code"),
    "api_key": ("key.prefix", "''"),
    "day": ("to_char({at} AT TIME ZONE %(zone)s, 'YYYY-MM-DD')",) * 2,
    "month": ("to_char({at} AT TIME ZONE %(zone)s, 'YYYY-MM')",) * 2,
    "hour": ("to_char(date_trunc('hour', {at}, %(zone)s) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",) * 2,
}
GROUPS: Final = (*_GROUPS, "project", "meter")
_MINE: Final = {
    "user": ("usage.organization_id = %(organization)s", "series.customer_id = %(organization)s"),
    "provider": ("usage.provider_id = %(organization)s", "series.provider_id = %(organization)s"),
    "all": ("true", "true"),
}
_METER_ROWS: Final = ", ".join(f"('{name}', '{unit}', {value})" for name, (unit, value) in METERS.items())
COLUMNS: Final = ("meter", "unit", "quantity", "fp32_tflop", "facts", "gaps")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which usage: whose (user, provider or all), over [start, end), grouped by `groups` beside meter and unit."""

    party: str
    organization: int | None
    start: datetime
    end: datetime
    zone: str
    groups: tuple[str, ...] = ()
    meter: str | None = None
    limit: int = 500
    after: tuple[str, ...] | None = None


def groups_of(text: str) -> tuple[str, ...]:
    """`a,b,label:c` as groups, each once. Invalid `group_unknown`. `meter` is always there, so it adds nothing."""
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    for name in names:
        if name not in GROUPS and not _LABEL.fullmatch(name):
            raise Invalid("group_unknown", f"one of {', '.join(GROUPS)}, label:NAME; several with commas", field="group_by")
    if len(names) > 8:
        raise Invalid("group_unknown", "at most 8 groups", field="group_by")
    return tuple(name for name in names if name != "meter")


def page_of(asked: Asked) -> tuple[list[dict[str, Any]], str | None]:
    """A page of rows in the order of their groups, and the cursor of the next page or None. Amounts are decimal text."""
    with connection.cursor() as cursor:
        cursor.execute(_statement(asked), _arguments(asked))
        rows = cursor.fetchall()
    full = len(rows) > asked.limit
    found = [_row(asked.groups, row) for row in rows[: asked.limit]]
    return found, cursor_of(rows[asked.limit - 1][: len(asked.groups) + 2]) if full else None


def all_pages(asked: Asked) -> Iterator[list[dict[str, Any]]]:
    """Every row, page by page; each page is a query of its own, so a long export holds nothing open."""
    while True:
        rows, following = page_of(asked)
        yield rows
        if following is None:
            return
        asked = replace(asked, after=after_of(following, asked.groups))


def _row(groups: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    keys = {name: value or None for name, value in zip(groups, row, strict=False)}
    return keys | dict(zip(COLUMNS, row[len(groups) :], strict=True))


def cursor_of(key: tuple[str, ...]) -> str:
    """The cursor of the page that goes on after a row with this key: its groups, its meter and unit."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def after_of(text: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    """The key that a cursor names. Invalid `invalid_cursor` for one that these groups never gave out."""
    try:
        key = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        key = None
    if not isinstance(key, list) or len(key) != len(groups) + 2 or not all(isinstance(part, str) for part in key):
        raise Invalid("invalid_cursor", "no page begins with this cursor", field="after")
    if any("\x00" in part for part in key):
        raise Invalid("invalid_cursor", "no page begins with this cursor", field="after")
    return tuple(key)


def _arguments(asked: Asked) -> dict[str, Any]:
    labels = {f"label{place}": label_of(name) for place, name in enumerate(asked.groups)}
    after = {f"after{place}": part for place, part in enumerate(asked.after or ())}
    window = {"start": asked.start, "end": asked.end, "zone": asked.zone, "organization": asked.organization}
    return window | {"meter": asked.meter, "more": asked.limit + 1} | labels | after


def label_of(group: str) -> str:
    """The label's name in `label:NAME`; `project` is one, too."""
    return group.removeprefix("label:")


def _statement(asked: Asked) -> str:
    size = len(asked.groups)
    keys = [f"k{place}" for place in range(size)] + ["meter", "unit"]
    numbers = ", ".join(str(place + 1) for place in range(size + 2))
    later = f"WHERE ({', '.join(keys)}) > ({', '.join(f'%(after{place})s' for place in range(size + 2))})" if asked.after else ""
    return f"""
SELECT {", ".join(keys)}, trim_scale(sum(quantity))::text, trim_scale(sum(fp32))::text, sum(facts)::bigint, sum(gaps)::bigint
  FROM ({_records(asked)} UNION ALL {_events(asked)}) facts
 {later}
 GROUP BY {numbers}
 ORDER BY {numbers}
 LIMIT %(more)s
"""


def _keys(asked: Asked, side: int, at: str) -> str:
    labels = ("task.labels", "event.labels")[side]
    parts = []
    for place, name in enumerate(asked.groups):
        of = _GROUPS[name][side].replace("{at}", at) if name in _GROUPS else f"{labels} ->> %(label{place})s"
        parts.append(f'coalesce({of}, \'\') COLLATE "C" AS k{place},')
    return " ".join(parts)


def _records(asked: Asked) -> str:
    """Every record as a row per meter, added up at once."""
    return f"""
SELECT {_keys(asked, 0, "usage.ended_at")} meters.meter COLLATE "C" AS meter, meters.unit COLLATE "C" AS unit,
       meters.quantity, usage.fp32_gflop * 0.001 AS fp32, 1 AS facts, 0 AS gaps
  FROM metering_usagerecord usage
 CROSS JOIN LATERAL (VALUES {_METER_ROWS}) meters(meter, unit, quantity)
  JOIN marketplace_organization customer ON customer.id = usage.organization_id
  JOIN marketplace_pool pool ON pool.id = usage.pool_id
  JOIN marketplace_region region ON region.id = pool.region_id
  JOIN marketplace_task task ON task.id = usage.task_id
  JOIN marketplace_capabilityversion version ON version.id = usage.capability_version_id
  JOIN marketplace_capability capability ON capability.id = version.capability_id
  JOIN marketplace_organization publisher ON publisher.id = capability.organization_id
  LEFT JOIN marketplace_apikey key ON key.id = usage.api_key_id
 WHERE {_MINE[asked.party][0]} AND usage.ended_at >= %(start)s AND usage.ended_at < %(end)s
   AND (%(meter)s::text IS NULL OR meters.meter = %(meter)s)
"""


def _events(asked: Asked) -> str:
    return f"""
SELECT {_keys(asked, 1, "event.occurred_at")} series.meter COLLATE "C", series.unit COLLATE "C", {QUANTITY},
       CASE series.meter WHEN 'fp32_tflop' THEN {QUANTITY} ELSE 0 END, 1, {GAP}::int
  FROM {FROM_EVENTS}
  JOIN marketplace_organization customer ON customer.id = series.customer_id
  JOIN marketplace_pool pool ON pool.id = series.pool_id
  JOIN marketplace_region region ON region.id = pool.region_id
 WHERE event.gauge IS NULL AND series.meter <> 'heartbeat'
   AND {_MINE[asked.party][1]} AND event.occurred_at >= %(start)s AND event.occurred_at < %(end)s
   AND (%(meter)s::text IS NULL OR series.meter = %(meter)s)
"""
