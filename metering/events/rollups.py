"""Building rollups from facts: the hours that are dirty, and the local days they touch.

One builder at a time, by an advisory lock: a second one with an older view of the facts would write its older sums over
the newer ones. A dirty row and its facts are committed together, so who sees the row sees the facts; a fact that is
not yet committed brings a dirty row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from metering.days_sql import WRITE
from metering.events.quantities import DIGEST, FROM_EVENTS, GAP, QUANTITY
from metering.local_days import LocalDay, Subject, arrays_of, wanted_of

LOCK: Final = 0x75736167  # "usag"
MOST: Final = 5_000  # dirty rows taken at once
FOREVER: Final = "infinity"

_TAKE: Final = """
DELETE FROM metering_usagedirty
 WHERE id = ANY(ARRAY(SELECT id FROM metering_usagedirty WHERE due <= clock_timestamp() ORDER BY id LIMIT %(most)s))
RETURNING customer_id, pool_id, meter, unit, hour
"""
# Whose hours these are, each with the zone that its customer has now. A pool's heartbeat concerns all who are known there.
_WHOSE: Final = """
WITH taken AS (
  SELECT * FROM unnest(%(customer)s::bigint[], %(pool)s::bigint[], %(meter)s::text[], %(unit)s::text[], %(hour)s::timestamptz[])
             AS taken (customer, pool, meter, unit, hour)
)
SELECT DISTINCT whose.customer, whose.pool, whose.meter, whose.unit, coalesce(nullif(organization.zone, ''), %(zone)s), whose.hour
  FROM (SELECT * FROM taken WHERE customer IS NOT NULL
         UNION
        SELECT subject.customer_id, subject.pool_id, subject.meter, subject.unit, taken.hour
          FROM taken JOIN metering_usagesubject subject ON subject.pool_id = taken.pool
         WHERE taken.customer IS NULL AND subject.meter NOT IN ('held_cores', 'held_accelerators')) whose
  JOIN marketplace_organization organization ON organization.id = whose.customer
"""
_NEW_SUBJECTS: Final = """
INSERT INTO metering_usagesubject (customer_id, pool_id, meter, unit, zone)
SELECT * FROM unnest(%(customer)s::bigint[], %(pool)s::bigint[], %(meter)s::text[], %(unit)s::text[], %(zone)s::text[])
           AS asked (customer, pool, meter, unit, zone)
 ORDER BY customer, pool, meter, unit, zone
ON CONFLICT DO NOTHING
"""
_SUBJECTS: Final = """
SELECT asked.place - 1, subject.id
  FROM unnest(%(customer)s::bigint[], %(pool)s::bigint[], %(meter)s::text[], %(unit)s::text[], %(zone)s::text[])
       WITH ORDINALITY AS asked (customer, pool, meter, unit, zone, place)
  JOIN metering_usagesubject subject
    ON subject.customer_id = asked.customer AND subject.pool_id = asked.pool AND subject.meter = asked.meter
   AND subject.unit = asked.unit AND subject.zone = asked.zone
"""
_HOURS: Final = f"""
WITH wanted AS MATERIALIZED (
  SELECT * FROM unnest(%(customer)s::bigint[], %(meter)s::text[], %(unit)s::text[], %(hour)s::timestamptz[])
             AS wanted (customer_id, meter, unit, hour)
)
INSERT INTO metering_usagehour (customer_id, meter, unit, hour, quantity, events, gaps, digest)
SELECT wanted.customer_id, wanted.meter, wanted.unit, wanted.hour, sum({QUANTITY}), count(*),
       count(*) FILTER (WHERE {GAP}), {DIGEST}
  FROM (SELECT DISTINCT hour FROM wanted) asked
  JOIN ({FROM_EVENTS}) ON event.occurred_at >= asked.hour AND event.occurred_at < asked.hour + interval '1 hour'
  JOIN wanted ON wanted.hour = asked.hour AND wanted.customer_id = series.customer_id
   AND wanted.meter = series.meter AND wanted.unit = series.unit
 GROUP BY 1, 2, 3, 4
ON CONFLICT (customer_id, meter, unit, hour) DO UPDATE
SET quantity = excluded.quantity, events = excluded.events, gaps = excluded.gaps, digest = excluded.digest
"""
ALL_DIRTY: Final = """
INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour)
SELECT DISTINCT series.customer_id, series.pool_id, series.meter, series.unit, date_trunc('hour', event.occurred_at, 'UTC')
  FROM metering_usageevent event JOIN metering_usageseries series ON series.id = event.series_id
 WHERE series.meter <> 'heartbeat' AND (%(customer)s::bigint IS NULL OR series.customer_id = %(customer)s)
 UNION
SELECT usage.organization_id, usage.pool_id, meters.meter, meters.unit, date_trunc('hour', at, 'UTC')
  FROM metering_usagerecord usage
 CROSS JOIN LATERAL (SELECT generate_series(usage.started_at, usage.ended_at, interval '12 hours') UNION SELECT usage.ended_at)
       AS held (at)
 CROSS JOIN LATERAL (VALUES ('held_cores', 'core', coalesce(usage.cores, 1)),
                            ('held_accelerators', 'accelerator', coalesce(usage.accelerators, 0))) AS meters (meter, unit, amount)
 WHERE meters.amount > 0 AND (%(customer)s::bigint IS NULL OR usage.organization_id = %(customer)s)
"""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: rows taken from the queue, hours and days written."""

    taken: int = 0
    hours: int = 0
    days: int = 0


def rebuild(most: int = MOST) -> Rebuilt:
    """Build what up to `most` rows of the queue ask for. Nothing while another does it: the queue keeps them.

    The number of statements does not depend on how much there is to build.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return Rebuilt()
        cursor.execute(_TAKE, {"most": most})
        taken = cursor.fetchall()
        hours = subject_hours(cursor, taken)
        return Rebuilt(len(taken), _write_hours(cursor, hours), _write_days(cursor, wanted_of(hours)))


def subject_hours(cursor: CursorWrapper, taken: Sequence[tuple[Any, ...]]) -> list[tuple[Subject, datetime]]:
    """(subject, hour) of rows of the queue."""
    if not taken:
        return []
    names = ("customer", "pool", "meter", "unit", "hour")
    arguments: dict[str, Any] = {name: list(column) for name, column in zip(names, zip(*taken, strict=True), strict=True)}
    cursor.execute(_WHOSE, arguments | {"zone": settings.USAGE_ZONE})
    return [(tuple(row[:5]), row[5]) for row in cursor.fetchall()]


def _write_hours(cursor: CursorWrapper, hours: Sequence[tuple[Subject, datetime]]) -> int:
    wanted = sorted({(customer, meter, unit, hour) for (customer, _, meter, unit, _), hour in hours})
    if not wanted:
        return 0
    columns = zip(("customer", "meter", "unit", "hour"), zip(*wanted, strict=True), strict=True)
    cursor.execute(_HOURS, {name: list(column) for name, column in columns})
    return int(cursor.rowcount)


def _write_days(cursor: CursorWrapper, wanted: Sequence[tuple[Subject, LocalDay]]) -> int:
    if not wanted:
        return 0
    numbers = numbers_of(cursor, sorted({subject for subject, _ in wanted}))
    rows = [(numbers[subject], subject, day) for subject, day in wanted if day.width]
    cursor.execute(WRITE, arrays_of(rows) | {"cutoff": FOREVER})
    return int(cursor.rowcount)


def numbers_of(cursor: CursorWrapper, subjects: Sequence[Subject]) -> dict[Subject, int]:
    """The subjects' rows, made where they are new."""
    names = ("customer", "pool", "meter", "unit", "zone")
    arguments = {name: list(column) for name, column in zip(names, zip(*subjects, strict=True), strict=True)}
    cursor.execute(_SUBJECTS, arguments)
    found = cursor.fetchall()
    if len(found) < len(subjects):
        cursor.execute(_NEW_SUBJECTS, arguments)
        cursor.execute(_SUBJECTS, arguments)
        found = cursor.fetchall()
    return {subjects[place]: number for place, number in found}


def mark_all(customer: int | None = None) -> int:
    """Ask for every rollup, of one customer or of all, to be built anew. Answers how many hours."""
    with connection.cursor() as cursor:
        cursor.execute(ALL_DIRTY, {"customer": customer})
        return int(cursor.rowcount)
