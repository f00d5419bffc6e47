"""Sums over periods: of usage records and of events, each group with the digest of its facts. One statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from metering.days_sql import STANDS
from metering.events.quantities import AS_OF, GAP, QUANTITY, SAID_BYTES, from_events
from metering.periods.windows import Window
from metering.queries import METERS


@dataclass(frozen=True, slots=True)
class Quantity:
    """How much one organization used of one pool by one meter in [start, end).

    source    records: the platform measured attempts; events: the pools metered themselves
    offer     which price list a record's attempt was leased under; None of events
    outcome   of records: the attempts' final state and the class of their failure, '' of events. Who pays is billing's word
    facts     how many records or events; `gaps`: readings of counters that miss one before them, or went backwards
    digest    SHA-256, in hexadecimal, of the set of facts: whatever their order, however often they are added up. Records of
              one group have one for all their meters
    """

    organization: int
    start: datetime
    end: datetime
    source: str
    provider: int
    pool: int
    offer: int | None
    outcome: str
    reason_class: str
    meter: str
    unit: str
    quantity: Decimal
    facts: int
    gaps: int
    digest: str


_SUMS: Final = ", ".join(f"sum({expression}) AS {name}" for name, (_, expression) in METERS.items())
_ROWS: Final = ", ".join(f"('{name}', '{unit}', added.{name})" for name, (unit, _) in METERS.items())

# Records are added up first and spread over their meters afterwards: a seventh of the rows.
_RECORDS: Final = f"""
SELECT added.place, 'records', added.provider_id, added.pool_id, added.offer_id, added.outcome, added.reason_class,
       meters.meter, meters.unit, meters.quantity, added.facts, 0::bigint, added.digest
  FROM (SELECT asked.place, usage.provider_id, usage.pool_id, usage.offer_id, usage.outcome, usage.reason_class,
               {_SUMS}, count(*) AS facts,
               encode(sha256(string_agg(int8send(usage.id), ''::bytea ORDER BY usage.id)), 'hex') AS digest
          FROM asked
          JOIN metering_usagerecord usage ON usage.organization_id = asked.organization
           AND usage.ended_at >= asked.begins AND usage.ended_at < asked.ends
         WHERE usage.measured_at < %(cutoff)s AND {STANDS}
         GROUP BY 1, 2, 3, 4, 5, 6) added
 CROSS JOIN LATERAL (VALUES {_ROWS}) AS meters (meter, unit, quantity)"""

# Events are found by time: once per window, however many organizations have it.
_EVENTS: Final = f"""
SELECT asked.place, 'events', series.provider_id, series.pool_id, NULL::bigint, '', '', series.meter, series.unit,
       sum({QUANTITY}), count(*), count(*) FILTER (WHERE {GAP}),
       encode(sha256(string_agg({SAID_BYTES}, ''::bytea ORDER BY event.key)), 'hex')
  FROM (SELECT DISTINCT begins, ends FROM asked) times
  JOIN ({from_events(*AS_OF)}) ON event.occurred_at >= times.begins AND event.occurred_at < times.ends
  JOIN asked ON asked.begins = times.begins AND asked.ends = times.ends AND asked.organization = series.customer_id
 WHERE event.gauge IS NULL AND series.meter <> 'heartbeat'
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9"""

# What a provider's pools did, by customer: (place of the period from 1, pool, customer, meter, unit, quantity, facts).
POOL_SUMS: Final = f"""
WITH asked AS MATERIALIZED (
  SELECT place, begins, ends FROM unnest(%(begins)s::timestamptz[], %(ends)s::timestamptz[]) WITH ORDINALITY
                                  AS asked (begins, ends, place)
)
SELECT added.place, added.pool_id, added.organization_id, meters.meter, meters.unit, meters.quantity, added.facts
  FROM (SELECT asked.place, usage.pool_id, usage.organization_id, {_SUMS}, count(*) AS facts
          FROM asked JOIN metering_usagerecord usage ON usage.ended_at >= asked.begins AND usage.ended_at < asked.ends
         WHERE usage.provider_id = %(provider)s AND usage.measured_at < %(cutoff)s AND {STANDS}
         GROUP BY 1, 2, 3) added
 CROSS JOIN LATERAL (VALUES {_ROWS}) AS meters (meter, unit, quantity)
 WHERE meters.meter = ANY(%(meters)s)
 UNION ALL
SELECT asked.place, series.pool_id, series.customer_id, series.meter, series.unit, sum({QUANTITY}), count(*)
  FROM asked
  JOIN ({from_events(*AS_OF)}) ON event.occurred_at >= asked.begins AND event.occurred_at < asked.ends
 WHERE event.gauge IS NULL AND series.meter <> 'heartbeat' AND series.provider_id = %(provider)s AND series.meter = ANY(%(meters)s)
 GROUP BY 1, 2, 3, 4, 5
"""

QUANTITIES: Final = f"""
WITH asked AS MATERIALIZED (
  SELECT place, organization, begins, ends
    FROM unnest(%(organization)s::bigint[], %(begins)s::timestamptz[], %(ends)s::timestamptz[])
         WITH ORDINALITY AS asked (organization, begins, ends, place)
)
SELECT * FROM ({_RECORDS}
 UNION ALL {_EVENTS}) found (
    place, source, provider, pool, offer, outcome, reason_class, meter, unit, quantity, facts, gaps, digest)
 ORDER BY place, source COLLATE "C", provider, pool, offer NULLS FIRST, outcome COLLATE "C", reason_class COLLATE "C",
          meter COLLATE "C", unit COLLATE "C"
"""


def quantities_of(windows: Sequence[Window], cutoff: datetime) -> list[Quantity]:
    """What was used in each window, by the facts that were accepted before the cutoff. Always in the same order.

    A record belongs to the moment at which its attempt ended, an event to the moment at which it happened. A record that was
    put right before the cutoff is left out for what puts it right. A gauge's samples are no quantity: see `peaks_of`.
    """
    if not windows:
        return []
    arguments: dict[str, Any] = {"organization": [window.organization for window in windows], "cutoff": cutoff}
    arguments |= {"begins": [window.start for window in windows], "ends": [window.end for window in windows]}
    with connection.cursor() as cursor:
        cursor.execute(QUANTITIES, arguments)
        return [_quantity(windows[row[0] - 1], row[1:]) for row in cursor.fetchall()]


def _quantity(window: Window, row: Sequence[Any]) -> Quantity:
    return Quantity(window.organization, window.start, window.end, *row)
