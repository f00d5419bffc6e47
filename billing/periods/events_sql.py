"""The statements that find what pools reported and somebody has agreed to pay for."""

from __future__ import annotations

from typing import Final

from metering.events.quantities import AS_OF, GAUGE, QUANTITY, SAID_BYTES, from_events

# What is charged: a series of a pool's events for a time, by one price list. A customer's own list stands in the place of
# the pool's.
SPANS: Final = """
SELECT window_.organization_id, window_.start, offer.id, offer.pool_id, priced.meter, priced.unit, series.id, lower(part),
       upper(part),
       offer.basis IN ('daily_peak', 'monthly_peak') AND priced.meter <> 'gb_moved',
       coalesce(offer.rules -> 'peak' ->> 'slot_stat', 'avg'),
       coalesce((offer.rules ->> 'quantum_s')::numeric, 0), coalesce((offer.rules ->> 'minimum_s')::numeric, 0)
  FROM unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
              AS window_ (organization_id, start, until)
  JOIN billing_subscription subscription ON subscription.organization_id = window_.organization_id
   AND subscription.valid && tstzrange(window_.start, window_.until)
  JOIN marketplace_offer offer ON offer.pool_id = subscription.pool_id AND offer.valid && subscription.valid
   AND (offer.customer_id IS NULL OR offer.customer_id = subscription.organization_id) AND offer.rules ? 'events'
 CROSS JOIN LATERAL (
       SELECT range_agg(own.valid) AS valid FROM marketplace_offer own
        WHERE offer.customer_id IS NULL AND own.customer_id = subscription.organization_id AND own.pool_id = offer.pool_id) own
 CROSS JOIN LATERAL unnest(tstzmultirange(offer.valid * subscription.valid * tstzrange(window_.start, window_.until))
                           - coalesce(own.valid, '{}')) AS part
 CROSS JOIN LATERAL jsonb_each_text(offer.rules -> 'events') AS priced (meter, unit)
  JOIN metering_usageseries series ON series.pool_id = offer.pool_id AND series.customer_id = window_.organization_id
   AND series.meter = priced.meter AND series.unit = priced.unit
 ORDER BY 1, 2, 3, 5, 7, 8
"""

# What a list that never was would charge: as if it were that of every pool whose reports somebody has agreed to pay for.
IMAGINED_SPANS: Final = """
SELECT window_.organization_id, window_.start, subscription.pool_id, subscription.pool_id, priced.meter, priced.unit, series.id,
       lower(part), upper(part), %(is_peak)s AND priced.meter <> 'gb_moved', %(stat)s, %(quantum)s, %(minimum)s
  FROM unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
              AS window_ (organization_id, start, until)
  JOIN billing_subscription subscription ON subscription.organization_id = window_.organization_id
   AND subscription.valid && tstzrange(window_.start, window_.until)
 CROSS JOIN LATERAL (SELECT subscription.valid * tstzrange(window_.start, window_.until) AS part) agreed
 CROSS JOIN unnest(%(meters)s::text[], %(units)s::text[]) AS priced (meter, unit)
  JOIN metering_usageseries series ON series.pool_id = subscription.pool_id AND series.customer_id = window_.organization_id
   AND series.meter = priced.meter AND series.unit = priced.unit
 ORDER BY 1, 2, 3, 5, 7, 8
"""

_COLUMNS: Final = {"organization": "bigint", "month": "timestamptz", "offer": "bigint", "pool": "bigint", "meter": "text",
                   "unit": "text", "series": "bigint",
                   "since": "timestamptz", "until": "timestamptz", "is_peak": "boolean", "stat": "text",
                   "quantum": "numeric", "minimum": "numeric"}  # fmt: skip
SPAN: Final = tuple(_COLUMNS)
_SPANS: Final = f"""
  SELECT * FROM unnest({", ".join(f"%({name})s::{kind}[]" for name, kind in _COLUMNS.items())}) AS span ({", ".join(SPAN)})"""
# The events of the spans: samples where a peak is charged, otherwise quantities and readings. Found by time and read once,
# however many spans there are: for the rest see `KEYED`.
_FOUND: Final = f"""
  FROM ({from_events(*AS_OF)})
  JOIN span ON span.series = event.series_id AND event.occurred_at >= span.since AND event.occurred_at < span.until
   AND span.is_peak = (event.gauge IS NOT NULL)
 WHERE event.occurred_at >= %(first)s AND event.occurred_at < %(last)s AND event.series_id = ANY(%(series)s)"""
# Events are joined by key. Left to itself PostgreSQL may take a month of events for a few, and read them once per span: 200
# customers with 300,000 events took 35 seconds.
KEYED: Final = "SELECT set_config('enable_nestloop', %(on)s, true)"


def _occupied(seconds: str) -> str:
    """metering.occupancy.Rule.billable, in seconds."""
    return f"CASE WHEN {seconds} > 0 THEN greatest(span.minimum, ceil({seconds} / span.quantum) * span.quantum) ELSE 0 END"


# An event's quantity is an occupation of its own; a counter's boot is one that goes on, of which each reading adds what is new.
_BEFORE: Final = "coalesce(before.value, 0)"
_BILLED: Final = f"""
       CASE WHEN span.quantum = 0 OR span.meter <> 'occupancy_second' THEN {QUANTITY}
            WHEN event.quantity IS NOT NULL THEN {_occupied("coalesce(fix.quantity, event.quantity)")}
            WHEN fix.quantity IS NOT NULL THEN fix.quantity
            ELSE greatest({_occupied("event.value")} - ({_occupied(_BEFORE)}), 0) END"""

AMOUNTS: Final = f"""
WITH span AS MATERIALIZED ({_SPANS})
SELECT span.organization, span.month, span.offer, span.meter, sum({QUANTITY}), sum({_BILLED}), count(*),
       encode(sha256(string_agg({SAID_BYTES}, ''::bytea ORDER BY event.key)), 'hex')
{_FOUND}
 GROUP BY 1, 2, 3, 4
"""

LISTED: Final = f"""
WITH span AS MATERIALIZED ({_SPANS})
SELECT event.key::text, series.source, event.external_id, span.meter, span.unit, event.occurred_at, event.accepted_at,
       trim_scale({QUANTITY})::text, trim_scale(event.value)::text, trim_scale({GAUGE})::text, coalesce(fix.revision, 0)
{_FOUND}
 ORDER BY event.occurred_at, event.key LIMIT %(limit)s
"""
