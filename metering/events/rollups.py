"""Building rollups from events: the hours that are dirty, and the local days they touch.

One builder at a time, by an advisory lock: a second one with an older view of the events would write its older sums over
the newer ones. A dirty row and its events are committed together, so who sees the row sees the events; an event that is
not yet committed brings a dirty row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from metering.events.quantities import DIGEST, FROM_EVENTS, GAP, QUANTITY

LOCK: Final = 0x75736167  # "usag"
MOST: Final = 5_000  # dirty rows taken at once

_HOURS: Final = f"""
  INSERT INTO metering_usagehour (customer_id, meter, unit, hour, quantity, events, gaps, digest)
  SELECT wanted.customer_id, wanted.meter, wanted.unit, wanted.hour, sum({QUANTITY}), count(*),
         count(*) FILTER (WHERE {GAP}), {DIGEST}
    FROM (SELECT DISTINCT hour FROM wanted) asked
    JOIN ({{events}}) ON event.occurred_at >= asked.hour AND event.occurred_at < asked.hour + interval '1 hour'
    JOIN wanted ON wanted.hour = asked.hour AND wanted.customer_id = series.customer_id
     AND wanted.meter = series.meter AND wanted.unit = series.unit
   GROUP BY 1, 2, 3, 4
  ON CONFLICT (customer_id, meter, unit, hour) DO UPDATE
  SET quantity = excluded.quantity, events = excluded.events, gaps = excluded.gaps, digest = excluded.digest
  RETURNING 1
""".replace("{events}", FROM_EVENTS)

# An hour of UTC may lie in two local days where a zone is not whole hours away.
_DAYS: Final = """
  SELECT DISTINCT customer_id, meter, unit, day, day::timestamp AT TIME ZONE %(zone)s AS begins,
         (day + 1)::timestamp AT TIME ZONE %(zone)s AS ends
    FROM wanted
   CROSS JOIN LATERAL (VALUES ((hour AT TIME ZONE %(zone)s)::date),
                              (((hour + interval '59 minutes 59.999999 seconds') AT TIME ZONE %(zone)s)::date)) days(day)
"""
_SLOTS: Final = f"""
  SELECT days.customer_id, days.meter, days.unit, days.day,
         floor(extract(epoch FROM event.occurred_at - asked.begins) / 300)::int AS slot,
         sum({QUANTITY}) AS quantity, string_agg(event.key::text || event.digest::text, ',' ORDER BY event.key) AS said
    FROM (SELECT DISTINCT day, begins, ends FROM days) asked
    JOIN ({{events}}) ON event.occurred_at >= asked.begins AND event.occurred_at < asked.ends
    JOIN days ON days.day = asked.day AND days.customer_id = series.customer_id
     AND days.meter = series.meter AND days.unit = series.unit
   GROUP BY 1, 2, 3, 4, 5
""".replace("{events}", FROM_EVENTS)
_DAY_ROWS: Final = """
  INSERT INTO metering_usageday (customer_id, meter, unit, zone, day, slots, digest)
  SELECT days.customer_id, days.meter, days.unit, %(zone)s, days.day, array_agg(slots.quantity ORDER BY number),
         md5(string_agg(slots.said, ',' ORDER BY number))::uuid
    FROM days
   CROSS JOIN LATERAL generate_series(0, ceil(extract(epoch FROM days.ends - days.begins) / 300)::int - 1) number
    LEFT JOIN slots ON slots.customer_id = days.customer_id AND slots.meter = days.meter AND slots.unit = days.unit
     AND slots.day = days.day AND slots.slot = number
   GROUP BY 1, 2, 3, 4, 5
  HAVING count(slots.quantity) > 0
  ON CONFLICT (customer_id, meter, unit, zone, day) DO UPDATE SET slots = excluded.slots, digest = excluded.digest
  RETURNING 1
"""
REBUILD: Final = f"""
WITH taken AS (
  DELETE FROM metering_usagedirty WHERE id = ANY(ARRAY(SELECT id FROM metering_usagedirty ORDER BY id LIMIT %(most)s))
  RETURNING customer_id, meter, unit, hour
), wanted AS MATERIALIZED (SELECT DISTINCT customer_id, meter, unit, hour FROM taken
), hours AS ({_HOURS}
), days AS MATERIALIZED ({_DAYS}
), slots AS MATERIALIZED ({_SLOTS}
), written AS ({_DAY_ROWS}
)
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM hours), (SELECT count(*) FROM written)
"""
ALL_DIRTY: Final = """
INSERT INTO metering_usagedirty (customer_id, meter, unit, hour)
SELECT DISTINCT series.customer_id, series.meter, series.unit, date_trunc('hour', event.occurred_at, 'UTC')
  FROM metering_usageevent event JOIN metering_usageseries series ON series.id = event.series_id
 WHERE %(customer)s::bigint IS NULL OR series.customer_id = %(customer)s
"""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What one statement did: rows taken from the queue, hours and days written."""

    taken: int = 0
    hours: int = 0
    days: int = 0


def rebuild(most: int = MOST) -> Rebuilt:
    """Build what up to `most` rows of the queue ask for. Nothing while another does it: the queue keeps them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if not cursor.fetchone()[0]:
            return Rebuilt()
        cursor.execute(REBUILD, {"most": most, "zone": settings.USAGE_ZONE})
        return Rebuilt(*cursor.fetchone())


def mark_all(customer: int | None = None) -> int:
    """Ask for every rollup, of one customer or of all, to be built anew. Answers how many hours."""
    with connection.cursor() as cursor:
        cursor.execute(ALL_DIRTY, {"customer": customer})
        return int(cursor.rowcount)
