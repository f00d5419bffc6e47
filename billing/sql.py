"""The statements that charge: `billing/pricing.py` and `marketplace/pricing.py` as PostgreSQL says them.

Amounts are exact numerics until they are rounded, once, half up, to micros; from there on they are bigints.
Subqueries end in OFFSET 0 so that an expression is computed once per row, without a copy of the rows.
"""

from __future__ import annotations

from typing import Final

from billing.pricing import CEILING_MICROS
from billing.rating_sql import COUNTED, OWN, PRICES, USAGE, rated
from core.money import BASIS_POINTS

BY_PERIOD: Final = "by_period"  # the reason of what is charged when the month is over

def _line(meter: str) -> str:
    """One line of a charge as JSON text, NULL if it costs nothing."""
    counted, size = COUNTED[meter]
    head = f"""'{{"meter":"{meter}","quantity":"'"""
    amount = f"trim_scale({counted} * {meter} * 0.000001)"
    line = f"""{head} || trim_scale({counted} * {size}) || {meter}_text || {amount} || '"}}'"""
    return f"CASE WHEN {meter} > 0 AND {counted} > 0 THEN {line} END"


# What a bill needs to know of its task.
_TASK: Final = """
         task.id AS task_id, task.organization_id, task.priced_at, task.kind = 'test' AS is_test,
         task.terms ->> 'currency' AS currency,
         (task.terms ->> 'platform_basis_points')::bigint AS basis_points,
         CASE WHEN task.terms -> 'fees_by_month' ? 'per_unit' THEN 0 ELSE (task.terms ->> 'fee_per_unit')::numeric END AS unit_fee,
         (task.terms ->> 'fee_per_task')::numeric AS task_fee,
         floor((task.constraints ->> 'max_price')::numeric * 1000000) AS cap,
         CASE WHEN task.state IN ('delivered', 'cancelled') THEN task.state
              WHEN task.state = 'failed' AND task.reason_class IN ('capability_error', 'limit_exceeded')
              THEN task.reason_class ELSE 'failed' END AS ending"""

# What the user was charged for the task so far. A price cap asks it for every chunk, the bill once at its end.
_SPENT: Final = """
         (SELECT coalesce(sum(charge.amount_micros), 0) FROM billing_charge charge
           WHERE charge.task_id = task.id AND charge.payer = 'user')"""
_SPENT_OF_CAP: Final = f"""
         CASE WHEN task.constraints ->> 'max_price' IS NOT NULL THEN {_SPENT} END AS spent"""

_RATED: Final = rated(
    "judged.*, payer <> 'nobody' AND price.offer_id IS NULL AS is_unpriced, price.per_period, "
    + ", ".join(f"{meter}, {meter}_text" for meter in COUNTED)
)

# A price cap: what the user's charges, in the order of usage ids, leave for this one. NULL where there is none.
_CAPPED: Final = f"""
  SELECT rated.*, resource + fee AS wanted,
         CASE WHEN cap IS NOT NULL AND payer = 'user' THEN greatest(cap - spent - coalesce(
              sum(CASE WHEN payer = 'user' THEN resource + fee ELSE 0 END)
              OVER (PARTITION BY task_id ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), 0)
         END AS room
    FROM ({_RATED}) rated
   ORDER BY task_id, id OFFSET 0
"""
_CUT: Final = f"""
  SELECT capped.*,
         CASE WHEN room < wanted THEN div(resource * room, wanted)::bigint ELSE resource END AS part,
         CASE WHEN room < wanted THEN (room - div(resource * room, wanted))::bigint ELSE fee END AS fee_part
    FROM ({_CAPPED}) capped OFFSET 0
"""

# The largest remainder over provider, publisher and platform (pricing.split_of).
_WEIGHED: Final = f"""
  SELECT cut.*, part + fee_part AS amount,
         part * ({BASIS_POINTS} - basis_points) AS a, fee_part * ({BASIS_POINTS} - basis_points) AS b,
         (part + fee_part) * basis_points AS c
    FROM ({_CUT}) cut OFFSET 0
"""


def _fraction(weight: str) -> str:
    return f"{weight} %% {BASIS_POINTS}"


_A, _B, _C = (_fraction(weight) for weight in "abc")
_SPLIT: Final = f"""
  SELECT weighed.*,
         a / {BASIS_POINTS} + (({_B} > {_A})::int + ({_C} > {_A})::int < left_over)::int AS provider_micros,
         b / {BASIS_POINTS} + (({_A} >= {_B})::int + ({_C} > {_B})::int < left_over)::int AS publisher_micros
    FROM (SELECT *, amount - a / {BASIS_POINTS} - b / {BASIS_POINTS} - c / {BASIS_POINTS} AS left_over
            FROM ({_WEIGHED}) parts OFFSET 0) weighed
"""

_MICROS_TEXT: Final = "trim_scale({} * 0.000001)"
_LINES: Final = f"""
         ('[' || concat_ws(',',
             {(", " + chr(10) + "             ").join(_line(meter) for meter in COUNTED)},
             CASE WHEN fee > 0 THEN '{{"meter":"publisher_fee","quantity":"1","unit_price":"'
                  || trim_scale(unit_fee) || '","amount":"' || trim_scale(unit_fee) || '"}}' END,
             CASE WHEN amount < wanted THEN '{{"meter":"price_cap","quantity":"1","unit_price":"'
                  || {_MICROS_TEXT.format("(amount - wanted)")} || '","amount":"'
                  || {_MICROS_TEXT.format("(amount - wanted)")} || '"}}' END
         ) || ']')::jsonb"""

CHARGE: Final = f"""
WITH bill AS MATERIALIZED (
  SELECT {_TASK}, {_SPENT_OF_CAP},
         coalesce((SELECT usage_id FROM billing_charge charge WHERE charge.task_id = task.id AND kind = 'usage'
                    ORDER BY id DESC LIMIT 1), 0) AS charged_to
    FROM marketplace_task task WHERE task.id = ANY(%(tasks)s)
), own AS MATERIALIZED ({OWN}
), usage AS MATERIALIZED (
  SELECT bill.*, usage.provider_id, usage.publisher_id, {USAGE}
    FROM bill CROSS JOIN LATERAL (
         SELECT * FROM metering_usagerecord record
          WHERE record.task_id = bill.task_id AND record.id > bill.charged_to AND record.revision = 0
          ORDER BY record.id LIMIT %(limit)s) usage
), price AS MATERIALIZED ({PRICES}
), split AS MATERIALIZED (
  SELECT task_id, id, organization_id, provider_id, publisher_id, currency, payer, amount,
         provider_micros, publisher_micros, amount - provider_micros - publisher_micros AS platform_micros,
         CASE WHEN is_unpriced THEN 'unpriced' WHEN per_period THEN '{BY_PERIOD}'
              ELSE work || '/' || ending END AS reason, {_LINES} AS lines
    FROM ({_SPLIT}) split
), entry AS (
  INSERT INTO billing_journalentry (key, kind, task_id, memo, posted_at)
  SELECT 'usage/' || task_id || '/' || min(id), 'usage', task_id, count(*) || ' usage records', statement_timestamp()
    FROM split WHERE amount > 0 GROUP BY task_id
  RETURNING id, task_id
), charged AS (
  INSERT INTO billing_charge (kind, usage_id, task_id, organization_id, provider_id, publisher_id, payer, reason,
                              currency, amount_micros, provider_micros, publisher_micros, platform_micros, lines,
                              entry_id, charged_at)
  SELECT 'usage', split.id, split.task_id, organization_id, provider_id, publisher_id, payer, reason,
         currency, amount, provider_micros, publisher_micros, platform_micros, lines,
         CASE WHEN amount > 0 THEN entry.id END, statement_timestamp()
    FROM split LEFT JOIN entry ON entry.task_id = split.task_id
   ORDER BY split.task_id, split.id
)
SELECT entry.id, organization_id, provider_id, publisher_id, currency, payer, count(*), sum(amount)::bigint,
       sum(provider_micros)::bigint, sum(publisher_micros)::bigint, sum(platform_micros)::bigint
  FROM split LEFT JOIN entry ON entry.task_id = split.task_id
 GROUP BY entry.id, organization_id, provider_id, publisher_id, currency, payer
"""

FEES: Final = f"""
WITH bill AS MATERIALIZED (
  SELECT {_TASK}, {_SPENT_OF_CAP}, capability.organization_id AS publisher_id
    FROM marketplace_task task
    JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id
    JOIN marketplace_capability capability ON capability.id = version.capability_id
   WHERE task.id = ANY(%(tasks)s) AND task.state = 'delivered' AND task.kind <> 'test'
     AND (task.terms ->> 'fee_per_task')::numeric > 0 AND (task.terms -> 'fees_by_month' ? 'per_task') IS NOT TRUE
     AND NOT EXISTS (SELECT FROM billing_charge charge WHERE charge.task_id = task.id AND charge.kind = 'fee')
), amounts AS MATERIALIZED (
  SELECT bill.*, wanted, CASE WHEN cap IS NULL THEN wanted ELSE least(wanted, greatest(cap - spent, 0))::bigint END AS amount
    FROM bill CROSS JOIN LATERAL (
         SELECT least(round(task_fee * 1000000), {CEILING_MICROS})::bigint AS wanted) priced
), split AS MATERIALIZED (
  SELECT amounts.*, platform_micros, amount - platform_micros AS publisher_micros
    FROM amounts CROSS JOIN LATERAL (
         SELECT (amount * basis_points + {BASIS_POINTS} / 2 - 1) / {BASIS_POINTS} AS platform_micros) share
), entry AS (
  INSERT INTO billing_journalentry (key, kind, task_id, memo, posted_at)
  SELECT 'fee/' || task_id, 'fee', task_id, '', now() FROM split WHERE amount > 0
  RETURNING id, task_id
), charged AS (
  INSERT INTO billing_charge (kind, task_id, organization_id, publisher_id, payer, reason, currency, amount_micros,
                              provider_micros, publisher_micros, platform_micros, lines, entry_id, charged_at)
  SELECT 'fee', split.task_id, organization_id, publisher_id, 'user', 'fee/delivered', currency, amount,
         0, publisher_micros, platform_micros,
         ('[' || concat_ws(',',
             '{{"meter":"task_fee","quantity":"1","unit_price":"' || trim_scale(task_fee)
             || '","amount":"' || trim_scale(task_fee) || '"}}',
             CASE WHEN amount < wanted THEN '{{"meter":"price_cap","quantity":"1","unit_price":"'
                  || {_MICROS_TEXT.format("(amount - wanted)")} || '","amount":"'
                  || {_MICROS_TEXT.format("(amount - wanted)")} || '"}}' END) || ']')::jsonb,
         entry.id, now()
    FROM split LEFT JOIN entry ON entry.task_id = split.task_id
)
SELECT entry.id, organization_id, NULL::bigint, publisher_id, currency, 'user', 1, amount, 0::bigint,
       publisher_micros, platform_micros
  FROM split LEFT JOIN entry ON entry.task_id = split.task_id
"""

COUNT_SO_FAR: Final = """
INSERT INTO billing_costsofar AS so_far (task_id, usage_id, micros)
SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) AS fresh (task_id, usage_id, micros) ORDER BY task_id
ON CONFLICT (task_id) DO UPDATE
   SET usage_id = excluded.usage_id, micros = so_far.micros + excluded.micros
"""

# Tasks whose row somebody else holds wait for the next sweep: a courtesy never waits, so it never deadlocks.
PUSH_SO_FAR: Final = """
WITH free AS (
  SELECT task.id, least(so_far.micros, floor((task.constraints ->> 'max_price')::numeric * 1000000))::bigint AS micros
    FROM billing_costsofar so_far JOIN marketplace_task task ON task.id = so_far.task_id
   WHERE task.settled_at IS NULL AND task.state IN ('queued', 'running')
     AND task.cost_micros
         <> least(so_far.micros, floor((task.constraints ->> 'max_price')::numeric * 1000000))
   ORDER BY task.id FOR NO KEY UPDATE OF task SKIP LOCKED
)
UPDATE marketplace_task task SET cost_micros = free.micros FROM free WHERE task.id = free.id
"""

# An ended task may be charged once none of its attempts lives and all of them are measured.
READY: Final = """
SELECT task.id, task.units_total FROM marketplace_task task
 WHERE task.id = ANY(%(tasks)s) AND task.settled_at IS NULL AND task.ended_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM scheduler_ended ended JOIN scheduler_attempt attempt ON attempt.id = ended.attempt_id
                    WHERE attempt.task_id = task.id)
   AND NOT EXISTS (SELECT FROM scheduler_attempt attempt
                    WHERE attempt.task_id = task.id AND attempt.state IN ('leased', 'running', 'reported'))
 ORDER BY task.id
"""

LOCK: Final = """
SELECT id FROM marketplace_task WHERE id = ANY(%(tasks)s) AND settled_at IS NULL AND ended_at IS NOT NULL
 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""

LOCK_ALLOWANCES: Final = """
SELECT allowance.id FROM marketplace_allowance allowance
 WHERE allowance.organization_id IN (SELECT organization_id FROM marketplace_task WHERE id = ANY(%(tasks)s))
 ORDER BY allowance.id FOR NO KEY UPDATE
"""

SETTLE: Final = f"""
UPDATE marketplace_task task SET settled_at = statement_timestamp(), cost_final = true, cost_micros = {_SPENT}
 WHERE task.id = ANY(%(tasks)s) AND task.settled_at IS NULL AND task.ended_at IS NOT NULL
RETURNING task.id
"""
