"""`metering/peaks/statistic.py` as PostgreSQL says it: one statement per policy over the slots of all subjects.

A source is a table or a subquery with the columns of a rolled-up day:

    subject, meter, local_day, slots bigint[]      NULL: nobody can vouch for the slot

and, so that a bill need not sort a month again, what `RANKED` makes of `slots` when a day is written:

    width     smallint    how many slots
    known     smallint    how many of them are not NULL
    top       bigint[]    the 16 highest, highest first
    top_at    integer[]   for each of these, the earliest slot (from 0) that has its value
    ranked    bigint[]    all known slots, highest first
    ladder    bigint[]    the 288th, 272nd ... 16th highest, -1 where there is none

A statement returns one row per peak, in the order of `COLUMNS`. Slots of days count from 0. Nothing is ever a float.

The month's 95th percentile does not sort the month. Of each day the ladder knows every 16th highest slot. The m-th highest of all
ladders of a month, m = ceil(rank / 16), is a value that at least 16 m >= rank slots reach; so the slot that is looked for is
no lower, and each day need only show the slots down to it, at most 15 more than its ladder counts. They are joined to one array
(`metering_joined`, an aggregate) and sorted as such: rows would cost three times as much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from metering.peaks.grid import Calendar
from metering.peaks.policy import Policy
from metering.peaks.statistic import Peak, Winner

STEP: Final = 16  # a ladder's step; also how many highest slots a day keeps apart
TALLEST: Final = 304  # no day has as many slots: 25 hours are 300
COLUMNS: Final = (
    "subject", "meter", "local_day", "total", "parts", "days", "slots", "values", "ranks",
    "samples", "valid_days", "width", "unknown", "other_total", "other_parts",
)  # fmt: skip

# What is kept of a day beside its slots, and the relation that these columns are of, beside one that is called `day`.
# `array_sort` and `array_remove` run over the array as it is: no rows are made.
RANKS: Final = f"""
       cardinality(day.slots)::smallint AS width, cardinality(high.ranked)::smallint AS known,
       high.ranked[1:{STEP}] AS top,
       ARRAY(SELECT array_position(day.slots, value) - 1 FROM unnest(high.ranked[1:{STEP}]) WITH ORDINALITY AS at (value, rank)
              ORDER BY rank) AS top_at,
       high.ranked,
       ARRAY(SELECT coalesce(high.ranked[rank], -1) FROM generate_series({TALLEST - STEP}, {STEP}, -{STEP}) AS rank) AS ladder"""
HIGH: Final = "LATERAL (SELECT array_sort(array_remove(day.slots, NULL), true) AS ranked OFFSET 0) AS high"
RANKED: Final = f"""
SELECT day.subject, day.meter, day.local_day, day.slots, {RANKS}
  FROM {{source}} AS day
 CROSS JOIN {HIGH}
"""


ONE_CALENDAR: Final = """(
  SELECT subjects.subject, subjects.meter, days.local_day, days.width
    FROM (SELECT DISTINCT subject, meter FROM {source} AS every) AS subjects
   CROSS JOIN unnest(%(days)s::date[], %(widths)s::int[]) AS days (local_day, width))"""


def ranked(source: str) -> str:
    """A source of bare slots, as one with the columns of a rolled-up day (a subquery)."""
    return f"({RANKED.format(source=source)})"  # for many subjects: into a table with a key first


def statement(policy: Policy, source: str, calendar: str = ONE_CALENDAR) -> str:
    """The statement for a policy. Its parameters are `parameters(policy, calendar)`.

    calendar  which days count where days count that were not recorded: a relation (subject, meter, local_day, width). By
              default one calendar holds for all subjects; whoever gives another sees to it that `source` holds no other days.
    """
    body = _DAILY if policy.daily else _MONTH_P95 if policy.kind == "month_p95" else _OF_DAYS
    kept = _USED if policy.valid_days == "used" else _ACTIVE
    kind, _ = policy.day_rule
    parts = {"source": source, "rank": _RANKS[kind].format(of="width"), "other_rank": _RANKS[kind].format(of="known")}
    kept = kept.format(**parts, calendar=calendar.format(source=source))
    peaks = _PEAKS.format(**parts, value=_ranked("day.rank"), other=_ranked("day.other_rank"), slot=_slot("day", "day.value"))
    return body.format(**parts, kept=kept, peaks=peaks, slot=_slot("day", "found.value"))


def parameters(policy: Policy, calendar: Calendar) -> dict[str, Any]:
    """What `statement` asks for by name."""
    days = [(day, width) for day, width in calendar.days if width]
    return {
        "days": [day for day, _ in days],
        "widths": [width for _, width in days],
        "above": policy.above,
        "k": policy.day_rule[1],
        "taken": policy.days_taken or len(days) or 1,
    }


def peak_of(row: Iterable[Any]) -> tuple[tuple[Any, str], Peak]:
    """((subject, meter), its peak) of a row: what the pure functions make of the same days."""
    found: Mapping[str, Any] = dict(zip(COLUMNS, row, strict=True))
    winners: list[tuple[date, int, int, int]] = list(
        zip(found["days"], found["slots"], found["values"], found["ranks"], strict=True)
    )
    peak = Peak(
        found["local_day"], int(found["total"]), found["parts"], tuple(Winner(*winner) for winner in winners), found["samples"],
        found["valid_days"], found["width"], found["unknown"], (int(found["other_total"] or 0), found["other_parts"]),
    )  # fmt: skip
    return (found["subject"], found["meter"]), peak


# The digest of each subject's days, as `metering.peaks.digest_of` makes it.
DIGESTS: Final = """
SELECT subject, meter,
       encode(sha256(convert_to(string_agg(local_day::text || ' ' || slots::text, E'\\n' ORDER BY local_day), 'UTF8')), 'hex')
  FROM {source} AS day WHERE local_day = ANY(%(days)s) GROUP BY subject, meter
"""


def digests(source: str) -> str:
    """The statement for (subject, meter, digest)."""
    return DIGESTS.format(source=source)


_RANKS: Final = {"day_max": "1", "day_kth": "least(%(k)s::int, {of})", "day_p95": "{of} / 20 + 1"}


def _ranked(rank: str) -> str:
    """A day's slot by its rank. Beyond the known ones there are only those that count 0."""
    return f"coalesce(CASE WHEN {rank} <= {STEP} THEN day.top[{rank}] ELSE day.ranked[{rank}] END, 0)"


def _slot(day: str, value: str) -> str:
    """The earliest slot of a day that has the value; one that is unknown has 0."""
    return f"""CASE WHEN {value} = 0 THEN array_position(array_replace({day}.slots, NULL, 0), 0) - 1
            ELSE array_position({day}.slots, {value}) - 1 END"""


# The days, which of them count, and of each what was recorded at all: how many slots, and how many of them are unknown. NOT
# MATERIALIZED where a subject's days are looked up again by key.
_USED: Final = """
SELECT subject, meter, local_day, slots, width, known, top, top_at, ranked, ladder, top[1] > %(above)s AS counts,
       width::int AS seen, (width - known)::int AS unknown
  FROM {source} AS recorded WHERE local_day = ANY(%(days)s)"""

_ACTIVE: Final = f"""
SELECT calendar.subject, calendar.meter, calendar.local_day,
       coalesce(recorded.slots, array_fill(0::bigint, ARRAY[calendar.width])) AS slots,
       coalesce(recorded.width, calendar.width)::smallint AS width,
       coalesce(recorded.known, calendar.width)::smallint AS known,
       coalesce(recorded.top, array_fill(0::bigint, ARRAY[least(calendar.width, {STEP})])) AS top,
       coalesce(recorded.top_at, array_fill(0, ARRAY[least(calendar.width, {STEP})])) AS top_at,
       coalesce(recorded.ranked, array_fill(0::bigint, ARRAY[calendar.width])) AS ranked,
       coalesce(recorded.ladder, ARRAY(SELECT CASE WHEN rank <= calendar.width THEN 0::bigint ELSE -1 END
                FROM generate_series({TALLEST - STEP}, {STEP}, -{STEP}) AS rank)) AS ladder,
       true AS counts, coalesce(recorded.width, 0)::int AS seen, coalesce(recorded.width - recorded.known, 0)::int AS unknown
  FROM {{calendar}} AS calendar
  LEFT JOIN {{source}} AS recorded
         ON recorded.subject = calendar.subject AND recorded.meter = calendar.meter AND recorded.local_day = calendar.local_day"""

# Each day's own peak, in both ways.
_PEAKS: Final = """
SELECT day.subject, day.meter, day.local_day, day.width, day.known, day.rank, day.value,
       CASE WHEN day.known > 0 THEN {other} END AS other,
       CASE WHEN day.value > 0 AND day.rank <= 16 THEN day.top_at[day.rank] ELSE {slot} END AS slot
  FROM (SELECT day.*, {value} AS value FROM (SELECT kept.*, {rank} AS rank, {other_rank} AS other_rank FROM kept) AS day) AS day"""

_DAILY: Final = """
WITH every AS ({kept}), kept AS (SELECT * FROM every WHERE counts), peaks AS ({peaks})
SELECT subject, meter, local_day, value::numeric, 1, ARRAY[local_day], ARRAY[slot], ARRAY[value], ARRAY[rank::int],
       width::int, 1, width::int, (width - known)::int, other::numeric, (other IS NOT NULL)::int
  FROM peaks"""

# The highest days: `taken` of them, ties to the earlier one.
_OF_DAYS: Final = """
WITH every AS NOT MATERIALIZED ({kept}), kept AS (SELECT * FROM every WHERE counts), peaks AS ({peaks}), recorded AS (
  SELECT subject, meter, sum(seen)::int AS seen, sum(unknown)::int AS unknown FROM every GROUP BY subject, meter
), taken AS (
  SELECT subject, meter, count(*)::int AS valid_days,
         (array_agg(local_day ORDER BY value DESC, local_day))[1:%(taken)s] AS days,
         (array_agg(slot ORDER BY value DESC, local_day))[1:%(taken)s] AS slots,
         (array_agg(value ORDER BY value DESC, local_day))[1:%(taken)s] AS values,
         (array_agg(rank::int ORDER BY value DESC, local_day))[1:%(taken)s] AS ranks,
         (array_agg(other ORDER BY other DESC) FILTER (WHERE other IS NOT NULL))[1:%(taken)s] AS others
    FROM peaks GROUP BY subject, meter
)
SELECT subject, meter, NULL::date, (SELECT sum(value) FROM unnest(taken.values) AS value), cardinality(taken.values),
       days, slots, taken.values, ranks, valid_days, valid_days, seen, unknown,
       (SELECT sum(other) FROM unnest(others) AS other), coalesce(cardinality(others), 0)
  FROM taken JOIN recorded USING (subject, meter)"""

_MONTH_P95: Final = f"""
WITH every AS NOT MATERIALIZED ({{kept}}), kept AS NOT MATERIALIZED (SELECT * FROM every WHERE counts), months AS (
  SELECT subject, meter, count(*) FILTER (WHERE counts)::int AS valid_days, sum(seen)::int AS seen, sum(unknown)::int AS unknown,
         sum(width) FILTER (WHERE counts)::int AS samples, sum(known) FILTER (WHERE counts)::int AS known,
         metering_joined(ladder) FILTER (WHERE counts) AS rungs
    FROM every GROUP BY subject, meter HAVING count(*) FILTER (WHERE counts) > 0
), lows AS MATERIALIZED (
  SELECT subject, meter, valid_days, seen, unknown, samples, known, samples / 20 + 1 AS rank, known / 20 + 1 AS other_rank,
         coalesce((array_sort(rungs, true))[(samples / 20 + {STEP}) / {STEP}], -1) AS low
    FROM months
), high AS (
  SELECT lows.subject, lows.meter, array_sort(metering_joined(
           day.ranked[1:{STEP} * ({TALLEST // STEP} - width_bucket(lows.low - 1, day.ladder)) - 1]), true) AS values
    FROM lows JOIN kept AS day ON day.subject = lows.subject AND day.meter = lows.meter AND day.top[1] >= lows.low
   GROUP BY lows.subject, lows.meter
), found AS MATERIALIZED (
  SELECT lows.*, coalesce(high.values[rank], 0) AS value, CASE WHEN lows.known > 0 THEN high.values[other_rank] END AS other
    FROM lows LEFT JOIN high ON high.subject = lows.subject AND high.meter = lows.meter
)
SELECT found.subject, found.meter, NULL::date, found.value::numeric, 1, ARRAY[first.local_day], ARRAY[first.slot],
       ARRAY[found.value], ARRAY[found.rank], found.samples, found.valid_days,
       found.seen, found.unknown, found.other::numeric, (found.other IS NOT NULL)::int
  FROM found
 CROSS JOIN LATERAL (
       SELECT day.local_day, {{slot}} AS slot FROM kept AS day
        WHERE day.subject = found.subject AND day.meter = found.meter
          AND (day.top[1] >= found.value AND found.value = ANY(day.slots) OR found.value = 0 AND day.known < day.width)
        ORDER BY day.local_day LIMIT 1) AS first"""
