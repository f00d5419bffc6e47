"""Rating as PostgreSQL says it: `billing/pricing.py` and `marketplace/pricing.py` over many usage records in one statement.

A price is a decimal per unit, a record counts thousandths; an amount is rounded once, half up, to micros. Almost always prices
are whole numbers of some 10^-digits micros and products fit into 64 bits: then it is all done in bigints, exactly and several
times as fast. Whatever does not fit takes the numerics below; both give the same micros.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

from billing.pricing import CEILING_MICROS, ENDINGS, VERDICTS, WORK_OF_OUTCOME
from marketplace.pricing import METERS_OF

# meter -> (what a usage record counts, its size in the meter's unit)
COUNTED: Final = {
    "core_second": ("core_ms", "0.001"),
    "accelerator_second": ("accelerator_ms", "0.001"),
    "fp32_tflop": ("fp32_gflop", "0.001"),
    "gb_moved": ("(bytes_in::numeric + bytes_out)", "0.000000001"),
    "occupancy_second": ("held_core_ms", "0.001"),
    "result": ("results", "1"),
}
# What is counted in bigints, and the test that a product with its price fits; the sum of all of them does, too.
_WHOLE: Final = {
    "core_second": ("core_ms", "core_ms <= core_second_most"),
    "accelerator_second": ("accelerator_ms", "accelerator_ms <= accelerator_second_most"),
    "gb_moved": ("(bytes_in + bytes_out)", "bytes_in <= gb_moved_most / 2 AND bytes_out <= gb_moved_most / 2"),
    "occupancy_second": ("held_core_ms", "held_core_ms <= occupancy_second_most"),
    "result": ("results", ""),  # one or none
}
_DIGITS: Final = 9  # most of them, after the point of a price in micros
_FITS: Final = 10**18  # the largest product; there are five, and half a unit
_LARGEST: Final = 10**12  # price, in units of 10^-digits micros


def _values(rows: list[tuple[str, ...]]) -> str:
    return ", ".join("('" + "', '".join(row) + "')" for row in rows)


def _price(meter: str) -> str:
    """The price of one counted thing in micros, and the middle of its line, `","unit_price":...`."""
    _, size = COUNTED[meter]
    of_meter = f"FILTER (WHERE rate.meter = '{meter}')"
    text = """'","unit_price":"' || trim_scale(rate.unit_price) || '","amount":"'"""
    return f"sum(rate.unit_price) {of_meter} * {size} * 1000000 AS {meter}, max({text}) {of_meter} AS {meter}_text"


def _whole_price(meter: str) -> str:
    """The price of one counted thing in units, and how many things fit."""
    units = f"(coalesce({meter}, 0) * unit)::bigint"
    most = f"CASE WHEN whole AND {meter} > 0 THEN {_FITS} / {units} ELSE {2**63 - 1} END"
    return f"CASE WHEN whole THEN {units} ELSE 0 END AS {meter}_units, {most} AS {meter}_most"


def _payer(work: str) -> str:
    payers = {ending: VERDICTS[work, ending].payer for ending in ENDINGS}
    if len(set(payers.values())) == 1:
        return f"'{payers['failed']}'"
    arms = " ".join(f"WHEN '{ending}' THEN '{payer}'" for ending, payer in payers.items())
    return f"CASE ending {arms} END"


_METERS: Final = _values([(basis, meter) for basis, meters in METERS_OF.items() for meter in sorted(meters)])
_WORKS: Final = list(dict.fromkeys(work for work, _ in VERDICTS))
_KNOWN_WORK: Final = ", ".join(f"'{work}'" for work in sorted(set(_WORKS) - {"valid"}))
_OUTCOMES: Final = " ".join(f"WHEN '{outcome}' THEN '{work}'" for outcome, work in WORK_OF_OUTCOME.items())
WORK: Final = (
    f"CASE usage.outcome {_OUTCOMES} "
    f"ELSE CASE WHEN usage.reason_class IN ({_KNOWN_WORK}) THEN usage.reason_class ELSE 'node_fault' END END"
)
_PAYER: Final = "CASE work " + " ".join(f"WHEN '{work}' THEN {_payer(work)}" for work in _WORKS) + " END"
_WITH_FEE: Final = " OR ".join(f"work = '{work}' AND ending = '{ending}'" for (work, ending), v in VERDICTS.items() if v.fee)

# Customers' own prices at pools (they are charged by period), those of the customers at hand.
OWN: Final = """
  SELECT offer.id, offer.pool_id, offer.customer_id, offer.valid FROM marketplace_offer offer
   WHERE offer.customer_id IN (SELECT organization_id FROM bill)
"""
OF_OWN: Final = "own.customer_id = bill.organization_id AND own.pool_id = usage.pool_id AND own.valid @> bill.priced_at"
OFFER: Final = "coalesce(own.id, usage.offer_id)"
_RESULTS: Final = "(usage.outcome = 'valid' OR usage.outcome = 'superseded' AND usage.reason_class = '')::int"
USAGE: Final = f"""
         usage.id, coalesce((SELECT own.id FROM own WHERE {OF_OWN}), usage.offer_id) AS offer_id,
         usage.stage, usage.outcome, usage.reason_class, usage.core_ms, usage.accelerator_ms, usage.fp32_gflop,
         usage.held_core_ms, usage.bytes_in, usage.bytes_out, {_RESULTS} AS results"""

PRICES: Final = f"""
  SELECT priced.*, whole, unit, unit / 2 AS half, {", ".join(_whole_price(meter) for meter in _WHOLE)}
    FROM (
         SELECT offer.id AS offer_id, offer.currency, offer.per_period, offer.per_period OR count(rate.id) > 0 AS is_priced,
                {", ".join(_price(meter) for meter in COUNTED)}
           FROM marketplace_offer offer
           LEFT JOIN (VALUES {_METERS}) AS known (basis, meter) ON known.basis = offer.basis AND NOT offer.per_period
           LEFT JOIN marketplace_rate rate ON rate.offer_id = offer.id AND rate.meter = known.meter
          WHERE offer.id IN (SELECT DISTINCT offer_id FROM usage)
          GROUP BY offer.id
         ) priced
   CROSS JOIN LATERAL (SELECT max(scale(trim_scale(price))) AS digits, max(price) AS highest
                         FROM unnest(ARRAY[0, {", ".join(_WHOLE)}]) AS price) AS size
   CROSS JOIN LATERAL (SELECT (10::numeric ^ least(digits, {_DIGITS}))::bigint AS unit) AS units
   CROSS JOIN LATERAL (
         SELECT digits <= {_DIGITS} AND coalesce(fp32_tflop, 0) = 0 AND highest * unit <= {_LARGEST} AS whole) AS sizes
"""

# Judge each usage record by the reason table, and price it by its offer's rates. What an offer charges by period costs
# nothing here (its rates are left out above), only who will pay is written down (billing/periods).


def _resource(meters: Iterable[str], results: str = "results") -> str:
    """What a record comes to in micros, by the prices of these meters."""
    priced = [meter for meter in COUNTED if meter in meters]
    whole = [_WHOLE[meter] for meter in priced if meter in _WHOLE]
    units = " + ".join(f"{_WHOLE[meter][0]} * {meter}_units" for meter in priced if meter in _WHOLE) or "0"
    fit = " AND ".join(["whole", *(fits for _, fits in whole if fits)])
    numeric = " + ".join(f"coalesce({COUNTED[meter][0]} * {meter}, 0)" for meter in priced) or "0"
    return f"""CASE WHEN {fit} THEN least(({units} + half) / unit, {CEILING_MICROS})
              ELSE least(round({numeric}), {CEILING_MICROS})::bigint END""".replace("results", results)


def rated(columns: str) -> str:
    """A subquery: each record of `usage` judged, and priced by `price`.

    columns   what is wanted of it beside `resource` and `fee`, in micros: names of `judged` (a record with what is known of its
              task, its `work` and its `payer`) and of `price`
    """
    return f"""
  SELECT {columns}, CASE WHEN price.offer_id IS NULL THEN 0 ELSE {_resource(COUNTED)} END AS resource,
         CASE WHEN with_fee THEN least(round(unit_fee * 1000000), {CEILING_MICROS})::bigint ELSE 0 END AS fee
    FROM (
         SELECT worked.*, ({_WITH_FEE}) AND stage = 0 AND outcome = 'valid' AND NOT is_test AS with_fee,
                CASE WHEN is_test AND verdict = 'user' THEN 'platform' ELSE verdict END AS payer
           FROM (SELECT known.*, {_PAYER} AS verdict
                   FROM (SELECT usage.*, {WORK} AS work FROM usage OFFSET 0) known OFFSET 0) worked
          OFFSET 0) judged
    LEFT JOIN price ON price.offer_id = judged.offer_id AND price.currency = judged.currency AND price.is_priced
                   AND judged.payer <> 'nobody'
"""


# What a delivered task costs its user so far: three statements, each of which PostgreSQL may share among its workers. What one has
# found goes to the next as JSON.
_LIKELY: Final = "delivered"  # a running task is counted as if it came to this


def _of_works(works: Iterable[str]) -> str:
    """Whether a record's work is one of these: a comparison or two where the whole CASE takes one for each outcome."""
    outcomes = _quoted(outcome for outcome, work in WORK_OF_OUTCOME.items() if work in works)
    reasons = _quoted(work for work in works if work != "valid")
    by_reason = f"usage.outcome NOT IN ({_quoted(WORK_OF_OUTCOME)}) AND usage.reason_class IN ({reasons})"
    return f"(usage.outcome IN ({outcomes}) OR {by_reason})" if reasons else f"usage.outcome IN ({outcomes})"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


_BY_USER: Final = _of_works([work for work in _WORKS if VERDICTS[work, _LIKELY].payer == "user"])
_FEE_WORKS: Final = _of_works([work for work in _WORKS if VERDICTS[work, _LIKELY].fee])
_WITH_UNIT_FEE: Final = f"{_FEE_WORKS} AND usage.stage = 0 AND usage.outcome = 'valid'"

# Open tasks with usage that is not counted yet, their ids, the first of it, whether a customer has prices of its own, and the
# currency that all have in common if from the first record on nothing is counted yet.
OPEN: Final = f"""
SELECT jsonb_agg(to_jsonb(open))::text, array_agg(task_id), min(first),
       EXISTS (SELECT FROM marketplace_offer WHERE customer_id = ANY(array_agg(organization_id))),
       CASE WHEN max(counted_to) < min(first) AND min(coalesce(currency, '')) = max(currency) THEN max(currency) END
  FROM (SELECT task.id AS task_id, task.organization_id, task.priced_at, task.kind = 'test' AS is_test,
               task.terms ->> 'currency' AS currency, coalesce(so_far.usage_id, 0) AS counted_to, fresh.id AS first,
               CASE WHEN task.terms -> 'fees_by_month' ? 'per_unit' THEN 0
                    ELSE least(round((task.terms ->> 'fee_per_unit')::numeric * 1000000), {CEILING_MICROS})::bigint END AS fee
          FROM marketplace_task task LEFT JOIN billing_costsofar so_far ON so_far.task_id = task.id
         CROSS JOIN LATERAL (SELECT record.id FROM metering_usagerecord record
                              WHERE record.task_id = task.id AND record.id > coalesce(so_far.usage_id, 0) AND record.revision = 0
                              ORDER BY record.id LIMIT 1) fresh
         WHERE task.state IN ('queued', 'running')) open
"""
_BILL: Final = """
WITH bill AS NOT MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(tasks)s::jsonb) AS bill (
    task_id uuid, organization_id bigint, priced_at timestamptz, is_test boolean, currency text, counted_to bigint, fee bigint)
)"""
_PRICE_COLUMNS: Final = ", ".join([
    "offer_id bigint", "currency text", "is_priced boolean", "whole boolean", "unit bigint", "half bigint",
    *(f"{meter} numeric" for meter in COUNTED), *(f"{meter}_units bigint, {meter}_most bigint" for meter in _WHOLE),
])  # fmt: skip


def _fresh(own: bool) -> tuple[str, str]:
    """The records at hand, and their offers. `IS TRUE`: the range of numbers is looked up as one, not for each task again."""
    records = """
  FROM metering_usagerecord usage JOIN bill ON bill.task_id = usage.task_id AND (usage.id > bill.counted_to) IS TRUE"""
    return (f"{records} LEFT JOIN ({OWN}) own ON {OF_OWN}", OFFER) if own else (records, "usage.offer_id")


_WINDOW: Final = "usage.id BETWEEN %(first)s AND %(last)s AND usage.revision = 0"


@cache
def open_prices(own: bool) -> str:
    """The prices of their offers, as JSON; without prices of customers' own, of all offers in the window."""
    records, offer = _fresh(own) if own else ("FROM metering_usagerecord usage", "usage.offer_id")
    return f"""{_BILL}, usage AS NOT MATERIALIZED (SELECT {offer} AS offer_id {records} WHERE {_WINDOW})
SELECT coalesce(jsonb_agg(to_jsonb(price)), '[]')::text FROM ({PRICES}) price
"""


_FOUND: Final = f"""price AS NOT MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(prices)s::jsonb) AS price ({_PRICE_COLUMNS})
)"""


@cache
def open_sums(own: bool, meters: frozenset[str]) -> str:
    """Task, last record, micros. Only the meters are looked at that have a price anywhere.

    A record that came since the prices were looked up may have an offer that is not among them: its task waits.
    """
    records, offer = _fresh(own)
    return f"""{_BILL}, {_FOUND}
SELECT bill.task_id, max(usage.id), coalesce(sum(
         CASE WHEN price.is_priced AND price.currency = bill.currency THEN {_resource(meters, _RESULTS)} ELSE 0 END
         + CASE WHEN fee > 0 AND {_WITH_UNIT_FEE} THEN fee ELSE 0 END)
       FILTER (WHERE {_BY_USER} AND NOT is_test), 0)::bigint
{records} LEFT JOIN price ON price.offer_id = {offer}
 WHERE {_WINDOW}
 GROUP BY bill.task_id HAVING bool_and(price.offer_id IS NOT NULL OR {offer} IS NULL)
"""


@cache
def open_groups(meters: frozenset[str]) -> str:
    """The same, at half the price, for tasks of one currency, all prices in it, none a customer's own, nothing counted yet.

    No record needs to know its task then: they are added up by it, and the few sums are joined with their tasks.
    """
    return f"""{_BILL}, {_FOUND}, summed AS (
  SELECT usage.task_id, max(usage.id) AS last, sum({_resource(meters, _RESULTS)}) FILTER (WHERE {_BY_USER}) AS micros,
         count(*) FILTER (WHERE {_WITH_UNIT_FEE}) AS fees
    FROM metering_usagerecord usage LEFT JOIN price ON price.offer_id = usage.offer_id
   WHERE {_WINDOW} AND usage.task_id = ANY(%(ids)s::uuid[])
   GROUP BY usage.task_id HAVING bool_and(price.offer_id IS NOT NULL OR usage.offer_id IS NULL)
)
SELECT task_id, last, CASE WHEN is_test THEN 0 ELSE coalesce(micros, 0) + fees::numeric * coalesce(fee, 0) END::bigint
  FROM summed JOIN bill USING (task_id)
"""
