"""Publishers' fees by month: what a capability's version asks for everything that a customer got of it in a month.

A version's manifest names such a fee by a rate instead of a price, and each task's terms say so (`fees_by_month`). Facts are
tasks that are settled, where the reason table has the user pay the fee: a valid unit belongs to the month that its attempt ended
in, a delivered task to the one that it ended in itself. Corrections of usage change no fact: a result is a result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final

from billing.periods.portions import Place, Portion, portions_of
from billing.periods.rating import Month, Rated
from billing.periods.reading import Key, Line, Payee, rows, windows
from billing.periods.sql import TASKS_WITH_FEES
from billing.rating import Rate, parse_rate, parts_of, precise
from marketplace.models import CapabilityVersion

SHARE: Final = "fee_share"  # a percentage of what the tasks' resources cost
UNITS: Final = {"fee_per_unit": "results", "fee_per_task": "tasks", SHARE: "currency"}  # meter -> what is counted
NO_OFFER: Final = 0

_FACTS: Final = f"""{TASKS_WITH_FEES}, fact AS MATERIALIZED (
  SELECT task.*, usage.id AS unit, NULL::uuid AS whole
    FROM task JOIN metering_usagerecord usage ON usage.task_id = task.id AND usage.revision = 0 AND usage.stage = 0
     AND usage.outcome = 'valid' AND usage.ended_at >= start AND usage.ended_at < until
   UNION ALL
  SELECT task.*, NULL, id FROM task WHERE state = 'delivered' AND ended_at >= start AND ended_at < until
   UNION ALL
  SELECT task.*, NULL, NULL FROM task  -- of what ended later a part of its resources may be of this month
)"""
# customer, version, start, currency, units, tasks, digest
FACTS: Final = f"""{_FACTS}
SELECT organization_id, version_id, start, min(currency), count(unit), count(whole),
       encode(sha256(convert_to(coalesce(string_agg(unit::text, ',' ORDER BY unit), '') || ';'
                                || coalesce(string_agg(whole::text, ',' ORDER BY whole), ''), 'UTF8')), 'hex')
  FROM fact
 GROUP BY organization_id, version_id, start
 ORDER BY organization_id, version_id, start
"""
# The facts of one version: its units, or its tasks, each with its task and the moment that it belongs to.
RECORDS: Final = f"""{_FACTS}
SELECT fact.unit, usage.attempt_id, fact.id::text, coalesce(usage.ended_at, fact.ended_at)
  FROM fact LEFT JOIN metering_usagerecord usage ON usage.id = fact.unit
 WHERE version_id = %(version)s AND CASE WHEN %(whole)s THEN fact.whole IS NOT NULL ELSE fact.unit IS NOT NULL END
 ORDER BY fact.unit, fact.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a customer got of a version in a month: results and delivered tasks.

    digest  SHA-256 of their numbers (docs/billing/charges.md)
    """

    organization: int
    version: int
    start: datetime
    currency: str
    units: int
    tasks: int
    digest: str

    def quantity(self, meter: str) -> int:
        """Of what is counted in whole numbers."""
        return self.units if meter == "fee_per_unit" else self.tasks

    @property
    def place(self) -> Place:
        return Place(self.organization, self.version, self.start)


@dataclass(frozen=True, slots=True)
class Asked:
    """A version's fees by month: meter -> rate, and whose they are."""

    publisher: int
    rates: Mapping[str, Rate]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"rates": {meter: rate.document() for meter, rate in sorted(self.rates.items())}}


def counted_of(months: Mapping[int, Month], cutoff: datetime) -> list[Counted]:
    """What was settled before the cutoff. One statement."""
    return [Counted(*row) for row in rows(FACTS, {**windows(months), "cutoff": cutoff})]


def asked_by(versions: Iterable[int]) -> dict[int, Asked]:
    """The fees by month of these versions. One statement."""
    found = CapabilityVersion.objects.filter(pk__in=set(versions)).select_related("capability")
    return {one.pk: Asked(one.capability.organization_id, rates_of(one.manifest)) for one in found}


def rates_of(manifest: Mapping[str, Any]) -> dict[str, Rate]:
    """The fees of a manifest that are rates rather than prices.

    >>> sorted(rates_of({"fee": {"per_unit": {"model": "package", "size": "10", "price": "2"}, "per_task": "0"}}))
    ['fee_per_unit']
    """
    return {f"fee_{name}": parse_rate(rate) for name, rate in manifest.get("fee", {}).items() if isinstance(rate, Mapping)}


def fee_lines_of(months: Mapping[int, Month], cutoff: datetime, lines: Sequence[Line], *, final: bool) -> list[Line]:
    """Every line of fees of these months; `lines` are those of pools.

    Two statements, one where nobody asks any, two more for shares.
    """
    counted = counted_of(months, cutoff)
    asked = asked_by(one.version for one in counted) if counted else {}
    shared = [version for version, one in asked.items() if SHARE in one.rates]
    portions = portions_of(months, cutoff, shared, lines) if shared else {}
    return [
        line
        for one in counted
        for line in _rated(one, asked[one.version], portions.get(one.place, []), months[one.organization], final=final)
    ]


def _rated(counted: Counted, asked: Asked, portions: Sequence[Portion], month: Month, *, final: bool) -> list[Line]:
    payee = Payee(None, asked.publisher, counted.currency)
    lines = []
    for meter, rate in sorted(asked.rates.items()):
        if not is_used(counted, portions, meter):
            continue  # who used nothing owes no minimum
        quantity, formula = quantity_of(counted, portions, meter)
        rated = Rated(meter, quantity, quantity, tuple(parts_of(rate, quantity, final=final)), formula)
        key = Key(counted.organization, NO_OFFER, "user", counted.start, meter, counted.version)
        if rated.amount or rated.raw:
            facts = counted.units + counted.tasks
            lines.append(Line(key, month, payee, rated, facts, digest_of(counted, portions, meter)))
    return lines


def is_used(counted: Counted, portions: Sequence[Portion], meter: str) -> bool:
    """Whether there is anything that a meter counts."""
    return bool(portions) if meter == SHARE else counted.units + counted.tasks > 0


def quantity_of(counted: Counted, portions: Sequence[Portion], meter: str) -> tuple[Fraction, str]:
    """What a rate is asked for, and how it came about."""
    if meter != SHARE:
        quantity = Fraction(counted.quantity(meter))
        return quantity, f"all {UNITS[meter]} of the month: {quantity}"
    base = sum((one.amount for one in portions), Fraction(0))
    return base, f"of what the tasks' resources cost: {format(precise(base).normalize(), 'f')}"


def digest_of(counted: Counted, portions: Sequence[Portion], meter: str) -> str:
    """SHA-256, in hexadecimal, of what is counted; of a share with the portions that it is of, a line of words each."""
    if meter != SHARE:
        return counted.digest
    told = (" ".join(str(value) for value in portion.document().values()) for portion in portions)
    return hashlib.sha256("\n".join([counted.digest, *told]).encode()).hexdigest()
