"""The statements of a period's run. Facts are usage records that were charged `by_period`: who pays is decided already.

An attempt that ran across the end of a month has its held time and its peaks in both months; what it did as a whole (work,
bytes, results, processor time) belongs to the month in which it ended.
"""

from __future__ import annotations

from typing import Final

# Of each record that was handed over, what stands at the cutoff: the highest revision that was measured before it.
_REVISED: Final = """
  SELECT DISTINCT ON (attempt_id) *
    FROM metering_usagerecord
   WHERE organization_id IN (SELECT organization_id FROM window_) AND revision > 0 AND measured_at < %(cutoff)s
   ORDER BY attempt_id, revision DESC
"""
_COLUMNS: Final = ("id", "wall_ms", "core_ms", "held_core_ms", "accelerator_ms", "fp32_gflop", "bytes_in", "bytes_out", "outcome",
                   "reason_class", "ended_at")  # fmt: skip
_STANDING: Final = f"""
  SELECT charge.organization_id, charge.offer_id, charge.payer, charge.start, charge.until,
         {", ".join(f"coalesce(revised.{name}, charge.{name}) AS {name}" for name in _COLUMNS)},
         coalesce(revised.ended_at - revised.wall_ms * interval '1 millisecond',
                  charge.ended_at - charge.wall_ms * interval '1 millisecond') AS began_at
    FROM charge LEFT JOIN revised ON revised.attempt_id = charge.attempt_id
"""
_OF_RECORD: Final = ", ".join(f"usage.{name}" for name in ("attempt_id", *_COLUMNS))


def _elapsed(moment: str) -> str:
    """Milliseconds that a record had run by a moment."""
    return f"least(greatest(floor(extract(epoch FROM {moment} - began_at) * 1000), 0), wall_ms)"


def _billable(elapsed: str) -> str:
    """metering.occupancy.Rule.billable, in milliseconds; what was stopped at a checkpoint has no minimum."""
    least = "CASE WHEN reason_class = 'checkpointed' THEN 0 ELSE minimum END"
    return f"CASE WHEN {elapsed} > 0 THEN greatest({least}, ceil({elapsed} / quantum) * quantum) ELSE 0 END"


_MILLI_CORES: Final = "CASE WHEN wall_ms > 0 THEN div(held_core_ms * 1000::numeric, wall_ms) ELSE 0 END"
_MILLI_DEVICES: Final = "CASE WHEN wall_ms > 0 THEN div(accelerator_ms * 1000::numeric, wall_ms) ELSE 0 END"
_MICROS: Final = "(extract(epoch FROM {}) * 1000000)::bigint"

# The charges whose records count, by window: those that were handed over to be charged by period,
_HANDED_OVER: Final = f"""
  SELECT charge.organization_id, coalesce(own.id, usage.offer_id) AS offer_id, charge.payer, window_.start, window_.until,
         {_OF_RECORD}
    FROM window_
    JOIN billing_charge charge ON charge.organization_id = window_.organization_id AND charge.reason = 'by_period'
         AND charge.charged_at >= window_.start AND charge.charged_at < %(cutoff)s
    JOIN metering_usagerecord usage ON usage.id = charge.usage_id
    JOIN marketplace_task task ON task.id = charge.task_id
    LEFT JOIN marketplace_offer own ON own.customer_id = charge.organization_id AND own.pool_id = usage.pool_id
         AND own.valid @> task.priced_at
"""
# or, for what would have been, everything that the user paid for in whatever way: by pool, which stands in the offer's place.
_PAID_FOR: Final = f"""
  SELECT charge.organization_id, usage.pool_id AS offer_id, charge.payer, window_.start, window_.until, {_OF_RECORD}
    FROM window_
    JOIN marketplace_task task ON task.organization_id = window_.organization_id AND task.created_at < window_.until
         AND task.ended_at >= window_.start
    JOIN billing_charge charge ON charge.task_id = task.id AND charge.kind = 'usage' AND charge.payer = 'user'
         AND charge.charged_at < %(cutoff)s
    JOIN metering_usagerecord usage ON usage.id = charge.usage_id
"""
_OF_OFFER: Final = """
         coalesce((offer.rules ->> 'quantum_s')::numeric * 1000, 1) AS quantum,
         coalesce((offer.rules ->> 'minimum_s')::numeric * 1000, 0) AS minimum,
         offer.basis IN ('daily_peak', 'monthly_peak') AS is_peak
    FROM standing JOIN marketplace_offer offer ON offer.id = standing.offer_id"""
_AS_ASKED: Final = """
         %(quantum)s::numeric AS quantum, %(minimum)s::numeric AS minimum, %(is_peak)s AS is_peak
    FROM standing"""


def _counted(charges: str, rules: str) -> str:
    """The records of each window, with what had run of them when it began and ended (milliseconds)."""
    return f"""
WITH window_ AS (
  SELECT * FROM unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
                AS window_ (organization_id, start, until)
), revised AS MATERIALIZED ({_REVISED}
), charge AS MATERIALIZED ({charges}
), standing AS MATERIALIZED ({_STANDING}
), timed AS MATERIALIZED (
  SELECT standing.*, {_elapsed("start")} AS before, {_elapsed("until")} AS after,
         ended_at >= start AND ended_at < until AS ended, {_MILLI_CORES} AS cores, {_MILLI_DEVICES} AS devices, {rules}
), counted AS MATERIALIZED (
  SELECT * FROM timed WHERE ended OR after > before
)"""


# organization, offer, payer, start, facts, digest, seven quantities, four arrays of what was held when
_SUMS: Final = f"""
SELECT organization_id, offer_id, payer, start, count(*),
       encode(sha256(convert_to(string_agg(id::text, ',' ORDER BY id), 'UTF8')), 'hex'),
       coalesce(sum(core_ms) FILTER (WHERE ended), 0) * 0.001,
       coalesce(sum(accelerator_ms) FILTER (WHERE ended), 0) * 0.001,
       coalesce(sum(fp32_gflop) FILTER (WHERE ended), 0) * 0.001,
       coalesce(sum(bytes_in::numeric + bytes_out) FILTER (WHERE ended), 0) * 0.000000001,
       coalesce(sum(cores * ({_billable("after")} - {_billable("before")})), 0) * 0.000001,
       coalesce(sum(cores * (after - before)), 0) * 0.000001,
       count(*) FILTER (WHERE ended AND (outcome = 'valid' OR outcome = 'superseded' AND reason_class = '')),
       array_agg({_MICROS.format("greatest(began_at, start)")} ORDER BY id) FILTER (WHERE is_peak AND after > before),
       array_agg({_MICROS.format("least(ended_at, until)")} ORDER BY id) FILTER (WHERE is_peak AND after > before),
       array_agg(cores::bigint ORDER BY id) FILTER (WHERE is_peak AND after > before),
       array_agg(devices::bigint ORDER BY id) FILTER (WHERE is_peak AND after > before)
  FROM counted
 GROUP BY organization_id, offer_id, payer, start
 ORDER BY organization_id, offer_id, payer, start
"""
FACTS: Final = _counted(_HANDED_OVER, _OF_OFFER) + _SUMS
IMAGINED: Final = _counted(_PAID_FOR, _AS_ASKED) + _SUMS

# The same by the list that a round froze for it, with what the round said: seconds of cores, of accelerators, of cores held.
PLACED: Final = (
    _counted(_PAID_FOR, _AS_ASKED)
    + f"""
SELECT counted.offer_id, list.market::text,
       coalesce(sum(core_ms) FILTER (WHERE ended), 0) * 0.001, coalesce(sum(accelerator_ms) FILTER (WHERE ended), 0) * 0.001,
       coalesce(sum(cores * ({_billable("after")} - {_billable("before")})), 0) * 0.000001
  FROM counted
  JOIN (SELECT id AS usage_id, offer_id AS list_id FROM metering_usagerecord) placed ON placed.usage_id = counted.id
  LEFT JOIN (SELECT id AS list_id, market FROM marketplace_offer) list ON list.list_id = placed.list_id
 GROUP BY counted.offer_id, list.list_id, list.market
 ORDER BY counted.offer_id, list.list_id
"""
)

# The records of one line, each with the part of it that lies within the month.
RECORDS: Final = (
    _counted(_HANDED_OVER, _OF_OFFER)
    + """
SELECT counted.id, usage.attempt_id, usage.task_id::text, pool.identifier, usage.outcome, usage.reason_class, usage.revision,
       began_at, counted.ended_at, (after - before)::bigint, counted.cores::bigint,
       counted.devices::bigint, counted.core_ms, counted.accelerator_ms, counted.bytes_in + counted.bytes_out
  FROM counted JOIN metering_usagerecord usage ON usage.id = counted.id JOIN marketplace_pool pool ON pool.id = usage.pool_id
 WHERE counted.offer_id = %(offer)s AND counted.payer = %(payer)s
 ORDER BY counted.id LIMIT %(limit)s
"""
)

# Core-microseconds that versions' tasks held under each price list by month, and that all did that the customer pays for. Tasks
# count that are facts of their publisher's fees (TASKS_WITH_FEES).
HELD_BY_VERSION: Final = (
    _counted(_HANDED_OVER, _OF_OFFER)
    + """
SELECT organization_id, offer_id, start, version_id, held, whole
  FROM (SELECT counted.organization_id, counted.offer_id, counted.start, task.capability_version_id AS version_id,
               sum(counted.cores * (after - before)) FILTER (
                 WHERE task.kind <> 'test' AND task.state IN ('delivered', 'cancelled') AND task.terms ? 'fees_by_month') AS held,
               sum(sum(counted.cores * (after - before))) OVER (
                 PARTITION BY counted.organization_id, counted.offer_id, counted.start) AS whole
          FROM counted JOIN metering_usagerecord usage ON usage.id = counted.id
          JOIN marketplace_task task ON task.id = usage.task_id
         WHERE counted.payer = 'user'
         GROUP BY counted.organization_id, counted.offer_id, counted.start, task.capability_version_id) held
 WHERE held > 0 AND version_id = ANY(%(versions)s)
 ORDER BY organization_id, offer_id, start, version_id
"""
)

# Tasks whose publishers' fees are charged with the month and paid by the customer; those that were settled before the cutoff.
TASKS_WITH_FEES: Final = """
WITH window_ AS (
  SELECT * FROM unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
                AS window_ (organization_id, start, until)
), task AS MATERIALIZED (
  SELECT window_.*, task.id, task.capability_version_id AS version_id, task.state, task.ended_at,
         task.terms ->> 'currency' AS currency
    FROM window_
    JOIN marketplace_task task ON task.organization_id = window_.organization_id AND task.terms ? 'fees_by_month'
     AND task.settled_at >= window_.start AND task.settled_at < %(cutoff)s
   WHERE task.kind <> 'test' AND task.state IN ('delivered', 'cancelled')
)"""

# What stands of each subject of these months: its last revision; and what disputes took back of it: what usage came to then, in
# currency units, and how much, in micros. Who pays is the subject's: a refund may be the platform's.
STANDING: Final = """
SELECT DISTINCT ON (charge.subject_id, lower(charge.period))
       charge.organization_id, coalesce(charge.offer_id, 0), subject.payer, lower(charge.period), charge.meter,
       coalesce(charge.version_id, 0), charge.subject_id,
       coalesce(charge.base_id, charge.id), charge.revision, charge.total_micros, charge.basis_points, charge.digest, charge.billed,
       charge.contract_id, charge.provider_id, charge.publisher_id, charge.currency,
       (SELECT array_agg(ARRAY[refund.precise, -refund.amount_micros] ORDER BY refund.revision) FROM billing_periodcharge refund
         WHERE refund.base_id = charge.base_id AND refund.refunds_id IS NOT NULL)
  FROM unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[]) AS month (organization_id, start)
  JOIN billing_periodsubject subject ON subject.organization_id = month.organization_id
  JOIN billing_periodcharge charge ON charge.subject_id = subject.id AND lower(charge.period) = month.start
 ORDER BY charge.subject_id, lower(charge.period), charge.revision DESC
"""

SUBJECTS: Final = """
WITH wanted AS (
  SELECT DISTINCT organization_id, nullif(offer_id, 0) AS offer_id, nullif(version_id, 0) AS version_id, meter, payer
    FROM unnest(%(organizations)s::bigint[], %(offers)s::bigint[], %(versions)s::bigint[], %(meters)s::text[], %(payers)s::text[])
         AS wanted (organization_id, offer_id, version_id, meter, payer)
), made AS (
  INSERT INTO billing_periodsubject (organization_id, offer_id, version_id, meter, payer)
  SELECT * FROM wanted ORDER BY 1, 2, 3, 4, 5 ON CONFLICT DO NOTHING
  RETURNING id, organization_id, offer_id, version_id, meter, payer
)
SELECT id, organization_id, coalesce(offer_id, 0), coalesce(version_id, 0), meter, payer
  FROM (SELECT * FROM made
         UNION
        SELECT subject.id, subject.organization_id, subject.offer_id, subject.version_id, subject.meter, subject.payer
          FROM wanted
          JOIN billing_periodsubject subject ON (subject.organization_id, subject.meter, subject.payer)
                                              = (wanted.organization_id, wanted.meter, wanted.payer)
           AND subject.offer_id IS NOT DISTINCT FROM wanted.offer_id
           AND subject.version_id IS NOT DISTINCT FROM wanted.version_id) subject
"""

ENTRIES: Final = """
INSERT INTO billing_journalentry (key, kind, memo, posted_at)
SELECT key, 'period', memo, statement_timestamp() FROM unnest(%(keys)s::text[], %(memos)s::text[]) AS entry (key, memo)
RETURNING key, id
"""

CHARGES: Final = """
INSERT INTO billing_periodcharge (
       subject_id, organization_id, provider_id, publisher_id, offer_id, version_id, contract_id, meter, payer, period, zone,
       revision, base_id, cutoff, raw, billed, currency, precise, total_micros, amount_micros, provider_micros, publisher_micros,
       platform_micros, basis_points, lines, evidence, digest, algorithm, entry_id, rated_at)
SELECT subject_id, organization_id, provider_id, publisher_id, nullif(offer_id, 0), nullif(version_id, 0), contract_id, meter,
       payer, tstzrange(start, until), zone, revision, base_id, %(cutoff)s, raw, billed, currency, precise, total, amount, provider,
       publisher, platform, basis_points, lines, evidence, digest, %(algorithm)s, entry_id, statement_timestamp()
  FROM unnest(%(subject)s::bigint[], %(organization)s::bigint[], %(provider)s::bigint[], %(publisher)s::bigint[],
              %(offer)s::bigint[], %(version)s::bigint[], %(contract)s::bigint[], %(meter)s::text[], %(payer)s::text[],
              %(start)s::timestamptz[], %(until)s::timestamptz[], %(zone)s::text[],
              %(revision)s::int[], %(base)s::bigint[], %(raw)s::numeric[],
              %(billed)s::numeric[], %(currency)s::text[], %(precise)s::numeric[], %(total)s::bigint[], %(amount)s::bigint[],
              %(provided)s::bigint[], %(published)s::bigint[], %(platform)s::bigint[], %(points)s::int[], %(lines)s::jsonb[],
              %(evidence)s::jsonb[], %(digest)s::text[], %(entry)s::bigint[])
       AS charge (subject_id, organization_id, provider_id, publisher_id, offer_id, version_id, contract_id, meter, payer, start,
                  until, zone, revision, base_id, raw, billed, currency, precise, total, amount, provider, publisher, platform,
                  basis_points, lines, evidence, digest, entry_id)
"""

FORGET: Final = """
DELETE FROM billing_periodpreview preview
 USING unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[]) AS month (organization_id, start)
 WHERE preview.organization_id = month.organization_id AND lower(preview.period) = month.start
"""

PREVIEWS: Final = """
INSERT INTO billing_periodpreview (organization_id, offer_id, version_id, meter, payer, period, billed, currency, total_micros,
                                   digest, cutoff)
SELECT organization_id, nullif(offer_id, 0), nullif(version_id, 0), meter, payer, tstzrange(start, until), billed, currency, total,
       digest, %(cutoff)s
  FROM unnest(%(organization)s::bigint[], %(offer)s::bigint[], %(version)s::bigint[], %(meter)s::text[], %(payer)s::text[],
              %(start)s::timestamptz[], %(until)s::timestamptz[], %(billed)s::numeric[], %(currency)s::text[], %(total)s::numeric[],
              %(digest)s::text[])
       AS preview (organization_id, offer_id, version_id, meter, payer, start, until, billed, currency, total, digest)
"""

PARK: Final = """
INSERT INTO billing_parkedperiod (subject_id, organization_id, period, reason, total_micros, before_micros, billed, digest, state,
                                  parked_at, note)
SELECT subject_id, organization_id, tstzrange(start, until), reason, total, before, billed, digest, 'open', statement_timestamp(),
       ''
  FROM unnest(%(subject)s::bigint[], %(organization)s::bigint[], %(start)s::timestamptz[], %(until)s::timestamptz[],
              %(reason)s::text[], %(total)s::numeric[], %(before)s::bigint[], %(billed)s::numeric[], %(digest)s::text[])
       AS parked (subject_id, organization_id, start, until, reason, total, before, billed, digest)
ON CONFLICT DO NOTHING
"""

DECIDED: Final = """
SELECT parked.subject_id, lower(parked.period), parked.digest, parked.total_micros, parked.state
  FROM unnest(%(organizations)s::bigint[], %(starts)s::timestamptz[]) AS month (organization_id, start)
  JOIN billing_parkedperiod parked ON parked.organization_id = month.organization_id AND lower(parked.period) = month.start
 WHERE parked.state <> 'open'
"""
