"""Facts -> local days in slots of five minutes, as one statement over any number of subjects and days.

`BUILT` are CTEs that end in `built` (subject, day, stat, slots, digest, latest): made of the facts that were accepted before
`%(cutoff)s`. Slots are thousandths of the unit, cut off.

    held_cores, held_accelerators   the sweep over the attempts' leases (`metering/peaks/sweep.py` in SQL): every slot is
                                    known, because the platform's own clock began and ended every lease
    anything else                   what sources reported: `sum` of quantities and counters, `avg` and `max` of samples

A slot in which a source reported nothing about a customer of whom it reported something else that day is 0 if the source's
heartbeat says that it was awake, and unknown otherwise. Where several sources report, their values add up, and one that is
unknown makes the slot unknown.
"""

from __future__ import annotations

from typing import Final

from metering.events.quantities import AS_OF, GAUGE, QUANTITY, SAID, from_events
from metering.peaks_sql import HIGH, RANKS

LARGEST: Final = 2**63 - 1
SLOT: Final = "floor(extract(epoch FROM {at} - {begins}) / 300)::int"

# Attempts whose time somebody's bill may show (billing's table of reasons): what failed by a pool's fault makes no peak.
COUNTED: Final = """(usage.outcome IN ('valid', 'cancelled') OR usage.reason_class IN ('limit_exceeded', 'checkpointed'))"""
# A correction stands in the place of what it corrects, from the moment at which it was measured.
STANDS: Final = """NOT EXISTS (
         SELECT FROM metering_usagerecord later
          WHERE later.revision > 0 AND later.corrects_id = usage.id AND later.measured_at < %(cutoff)s)"""

WANTED: Final = """
  SELECT * FROM unnest(%(wanted_subject)s::bigint[], %(wanted_customer)s::bigint[], %(wanted_pool)s::bigint[],
                       %(wanted_meter)s::text[], %(wanted_unit)s::text[], %(wanted_day)s::date[],
                       %(wanted_begins)s::timestamptz[], %(wanted_ends)s::timestamptz[], %(wanted_width)s::int[])
           AS wanted (subject, customer, pool, meter, unit, day, begins, ends, width)"""

# A row per subject, day, slot and series. Events are found by time alone: no index knows their series.
_REPORTED: Final = f"""
  SELECT wanted.subject, wanted.day, series.source, series.id AS series,
         {SLOT.format(at="event.occurred_at", begins="wanted.begins")} AS slot,
         sum({QUANTITY}) FILTER (WHERE event.gauge IS NULL) * 1000 AS total,
         div(sum({GAUGE}) * 1000, nullif(count(event.gauge), 0)) AS mean, max({GAUGE}) * 1000 AS most,
         string_agg({SAID}, ',' ORDER BY event.key) AS said, max(greatest(event.accepted_at, fix.accepted_at)) AS latest
    FROM (SELECT DISTINCT begins, ends FROM wanted) asked
    JOIN ({from_events(*AS_OF)}) ON event.occurred_at >= asked.begins AND event.occurred_at < asked.ends
    JOIN wanted ON wanted.begins = asked.begins AND wanted.ends = asked.ends AND wanted.customer = series.customer_id
     AND wanted.pool = series.pool_id AND wanted.meter = series.meter AND wanted.unit = series.unit
   GROUP BY 1, 2, 3, 4, 5"""

_AWAKE: Final = f"""
  SELECT asked.begins, asked.ends, series.pool_id AS pool, series.source,
         {SLOT.format(at="event.occurred_at", begins="asked.begins")} AS slot, 0 AS idle, min(event.accepted_at) AS latest
    FROM (SELECT DISTINCT begins, ends FROM wanted) asked
    JOIN metering_usageevent event ON event.occurred_at >= asked.begins AND event.occurred_at < asked.ends
    JOIN metering_usageseries series ON series.id = event.series_id AND series.meter = 'heartbeat'
   WHERE event.accepted_at < %(cutoff)s AND series.pool_id IN (SELECT pool FROM wanted)
     AND EXISTS (SELECT FROM metering_usageseries WHERE meter = 'heartbeat')
   GROUP BY 1, 2, 3, 4, 5"""

_SAID: Final = """
  SELECT subject, day, stat, source, slot, sum(value) AS value
    FROM reported CROSS JOIN LATERAL (VALUES ('sum', total), ('avg', mean), ('max', most)) AS kinds (stat, value)
   WHERE value IS NOT NULL GROUP BY 1, 2, 3, 4, 5"""

_OF_EVENTS: Final = f"""
  SELECT subject, day, stat, array_agg(value ORDER BY slot) AS slots, max(latest) AS latest
    FROM (SELECT grid.subject, grid.day, grid.stat, number AS slot, max(awake.latest) AS latest,
                 CASE WHEN count(*) = count(coalesce(said.value, awake.idle))
                      THEN least(floor(sum(coalesce(said.value, 0))), {LARGEST})::bigint END AS value
            FROM (SELECT DISTINCT subject, day, stat, source FROM said) grid
            JOIN wanted ON wanted.subject = grid.subject AND wanted.day = grid.day
           CROSS JOIN LATERAL generate_series(0, wanted.width - 1) number
            LEFT JOIN said ON said.subject = grid.subject AND said.day = grid.day AND said.stat = grid.stat
             AND said.source = grid.source AND said.slot = number
            LEFT JOIN awake ON awake.begins = wanted.begins AND awake.ends = wanted.ends AND awake.pool = wanted.pool
             AND awake.source = grid.source AND awake.slot = number
           GROUP BY 1, 2, 3, 4) filled
   GROUP BY 1, 2, 3"""

_HELD: Final = f"""
  SELECT wanted.subject, wanted.day, wanted.begins, wanted.ends, wanted.width, usage.id, usage.measured_at,
         greatest(usage.started_at, wanted.begins) AS since, least(usage.ended_at, wanted.ends) AS until, held.amount
    FROM wanted
    JOIN metering_usagerecord usage ON usage.organization_id = wanted.customer AND usage.ended_at > wanted.begins
     AND usage.started_at < wanted.ends AND usage.pool_id = wanted.pool AND usage.measured_at < %(cutoff)s
   CROSS JOIN LATERAL (SELECT CASE wanted.meter WHEN 'held_accelerators' THEN coalesce(usage.accelerators, 0)
            ELSE coalesce(usage.cores, div(usage.held_core_ms, nullif(usage.wall_ms, 0)), 0) END AS amount) held
   WHERE wanted.meter IN ('held_cores', 'held_accelerators') AND held.amount > 0 AND {COUNTED} AND {STANDS}"""

# All changes of an instant are summed before they are cumulated. The edges of slots are changes by nothing.
_CHANGES: Final = """
  SELECT subject, day, begins, at, sum(change) AS change
    FROM (SELECT subject, day, begins, since AS at, amount AS change FROM held
           UNION ALL SELECT subject, day, begins, until, -amount FROM held
           UNION ALL SELECT subject, day, begins, least(begins + number * interval '5 minutes', ends), 0
                       FROM (SELECT DISTINCT subject, day, begins, ends, width FROM held) days
                      CROSS JOIN LATERAL generate_series(0, width) number) every
   GROUP BY 1, 2, 3, 4"""
_LEVELS: Final = """
  SELECT subject, day, begins, at, sum(change) OVER times AS level, lead(at) OVER times AS until
    FROM changes WINDOW times AS (PARTITION BY subject, day ORDER BY at)"""
_LASTED: Final = "extract(epoch FROM until - at) * 1000000"
_OF_HELD: Final = f"""
  SELECT subject, day, array_agg(mean ORDER BY slot) AS means, array_agg(most ORDER BY slot) AS mosts
    FROM (SELECT subject, day, {SLOT.format(at="at", begins="begins")} AS slot,
                 least(div(sum(level * {_LASTED}) * 1000, sum({_LASTED})), {LARGEST})::bigint AS mean,
                 least(max(level) * 1000, {LARGEST})::bigint AS most
            FROM levels WHERE until IS NOT NULL GROUP BY 1, 2, 3) slots
   GROUP BY 1, 2"""

_FACTS: Final = """
  SELECT subject, day, md5(string_agg(said, ',' ORDER BY slot, series))::uuid AS digest, max(latest) AS latest
    FROM reported GROUP BY 1, 2
   UNION ALL
  SELECT subject, day, md5(string_agg(id::text, ',' ORDER BY id))::uuid, max(measured_at) FROM held GROUP BY 1, 2"""

BUILT: Final = f"""
wanted AS MATERIALIZED ({WANTED}
), reported AS MATERIALIZED ({_REPORTED}
), awake AS MATERIALIZED ({_AWAKE}
), said AS MATERIALIZED ({_SAID}
), of_events AS ({_OF_EVENTS}
), held AS MATERIALIZED ({_HELD}
), changes AS ({_CHANGES}
), levels AS ({_LEVELS}
), of_held AS MATERIALIZED ({_OF_HELD}
), facts AS ({_FACTS}
), built AS (
  SELECT days.subject, days.day, days.stat, days.slots, facts.digest, greatest(facts.latest, days.latest) AS latest
    FROM (SELECT subject, day, stat, slots, latest FROM of_events
           UNION ALL SELECT subject, day, 'avg', means, NULL FROM of_held
           UNION ALL SELECT subject, day, 'max', mosts, NULL FROM of_held) days
    JOIN facts ON facts.subject = days.subject AND facts.day = days.day
)"""

COLUMNS: Final = "subject_id, stat, day, slots, width, known, top, top_at, ranked, ladder, digest, latest"
_ROWS: Final = f"""
SELECT day.subject, day.stat, day.day, day.slots, {RANKS}, day.digest, day.latest
  FROM built AS day CROSS JOIN {HIGH}"""

WRITE: Final = f"""
WITH {BUILT}
INSERT INTO metering_usageday ({COLUMNS}) {_ROWS}
ON CONFLICT (subject_id, stat, day) DO UPDATE
SET slots = excluded.slots, width = excluded.width, known = excluded.known, top = excluded.top, top_at = excluded.top_at,
    ranked = excluded.ranked, ladder = excluded.ladder, digest = excluded.digest, latest = excluded.latest
"""
# The same as of an earlier moment, beside the table.
STAGE: Final = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS usage_day_as_of ON COMMIT DELETE ROWS AS SELECT {COLUMNS} FROM metering_usageday WITH NO DATA
"""
WRITE_AS_OF: Final = f"WITH {BUILT} INSERT INTO usage_day_as_of ({COLUMNS}) {_ROWS}"
