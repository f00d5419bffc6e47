"""What if: a past month's usage under other price lists, by the same engine. Reads only.

Everything counts that the customer paid for as a user, whether it was charged task by task or by period, or reported by a pool to
whose reports the customer had agreed: each pool's usage is rated as if the list were that pool's. Publishers' fees
are no part of it, neither here nor there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from billing.periods.following import Followed, followed, following
from billing.periods.portions import RESOURCES
from billing.periods.posting import text_of
from billing.periods.prices import Price, parse_price
from billing.periods.rating import Month, Rated, rate_usage
from billing.periods.reading import Facts, imagined_of, months_of, rows, total_micros
from billing.periods.runs import safe_cutoff
from core.money import text_of as money
from marketplace.dynamic import Dynamic, is_dynamic
from marketplace.dynamic import parse as parse_dynamic
from marketplace.models import Organization, Pool
from marketplace.services.offers import read_terms

MOST_PRICES: Final = 10

# What the month cost by pool, without publishers' fees.
ACTUAL: Final = f"""
SELECT due.pool_id, sum(due.micros)::bigint
  FROM (SELECT usage.pool_id, {RESOURCES} AS micros
          FROM marketplace_task task
          JOIN billing_charge charge ON charge.task_id = task.id AND charge.kind IN ('usage', 'delta')
               AND charge.payer = 'user' AND charge.charged_at < %(cutoff)s
          JOIN metering_usagerecord usage ON usage.id = charge.usage_id
         WHERE task.organization_id = %(organization)s AND task.created_at < %(end)s AND task.ended_at >= %(start)s
           AND usage.ended_at >= %(start)s AND usage.ended_at < %(end)s
        UNION ALL
        SELECT offer.pool_id, charge.amount_micros FROM billing_periodcharge charge
          JOIN billing_periodsubject subject ON subject.id = charge.subject_id
          JOIN marketplace_offer offer ON offer.id = charge.offer_id
         WHERE subject.organization_id = %(organization)s AND charge.payer = 'user' AND lower(charge.period) = %(start)s) due
 GROUP BY due.pool_id
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A price list to try, under a name of the asker's."""

    name: str
    price: Price
    dynamic: Mapping[str, Dynamic] = field(default_factory=dict)


def candidate_of(name: str, basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> Candidate:
    """A price list to try. Dynamic rates stand in `price` with their ceiling.

    Raises Invalid `rates_invalid | rate_invalid | peak_policy_invalid` with the member in `field`.
    """
    dynamic = {meter: parse_dynamic(rate, f"rates.{meter}", meter) for meter, rate in rates.items() if is_dynamic(rate)}
    if dynamic:
        read_terms(basis, rates, rules)  # such a list is charged task by task
    flat = {meter: format(dynamic[meter].ceiling, "f") if meter in dynamic else rate for meter, rate in rates.items()}
    return Candidate(name, parse_price(basis, flat, rules), dynamic)


def compare(organization: Organization, month: date, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """What the month cost, and what it would have cost under each candidate: totals, and lines by pool."""
    cutoff = safe_cutoff()
    months, _ = months_of([organization.pk], month)
    asked = months[organization.pk]
    parties = {"organization": organization.pk, "start": asked.start, "end": asked.end, "cutoff": cutoff}
    actual: dict[int, int] = dict(rows(ACTUAL, parties))
    found = [(one, imagined_of(months, cutoff, one.price), followed(months, cutoff, one.dynamic)) for one in candidates]
    pools = Pool.objects.in_bulk([*actual, *(facts.offer for _, each, _ in found for facts in each)])
    names = {number: pool.identifier for number, pool in pools.items()}
    spent = sum(actual.values())
    return {
        "organization": organization.slug,
        "period": {"from": asked.start, "to": asked.end, "zone": asked.zone.key},
        "cutoff": cutoff,
        "actual": {"total": money(spent), "pools": {names[pool]: money(micros) for pool, micros in sorted(actual.items())}},
        "candidates": [_outcome(one, _rated(one, facts, asked, parts), names, spent) for one, facts, parts in found],
    }


def _rated(one: Candidate, facts: Sequence[Facts], month: Month, parts: Followed) -> list[tuple[int, Rated]]:
    lines = ((each.offer, rate_usage(one.price, each.usage, month, (None, None), final=True)) for each in facts)
    return [(pool, following(line, pool, parts)) for pool, rated in lines for line in rated]


def _outcome(one: Candidate, rated: Sequence[tuple[int, Rated]], names: dict[int, str], spent: int) -> dict[str, Any]:
    lines = [
        {
            "pool": names[pool],
            "meter": line.meter,
            "unit": one.price.unit_of(line.meter),
            "raw": text_of(line.raw),
            "billed": text_of(line.billed),
            "formula": line.formula,
            "amount": money(total_micros(line)),
        }
        for pool, line in rated
    ]
    total = sum(total_micros(line) for _, line in rated)
    return {
        "name": one.name,
        "price": _document(one),
        "lines": lines,
        "total": money(total),
        "difference": money(total - spent),
    }


def _document(one: Candidate) -> dict[str, Any]:
    told = one.price.document()
    return told | {"rates": told["rates"] | {meter: rate.document() for meter, rate in one.dynamic.items()}}
