"""What terms would have cost a provider over past days, if they had held for everybody. Reads only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from billing.sla.deciding import Steps, checked, credit_of, least_of, share_of
from billing.sla.measuring import Facts, facts_of
from billing.sla.sql import IMAGINED
from billing.sla.terms import midnight
from core.money import text_of
from marketplace.models import Organization, Pool

MOST_DAYS: Final = 92


@dataclass(frozen=True, slots=True)
class Imagined:
    """Terms that nobody promised: of a pool, to everybody."""

    pool: Pool
    kind: str
    steps: Steps
    minimum: int = 1


def backtest(terms: Imagined, days: int, now: datetime | None = None) -> dict[str, Any]:
    """`{days: [{day, customer, currency, good, total, credit_basis_points, credit}], credits: {currency: text}}`.

    One statement for each day. Raises Invalid `sla_steps_invalid`.
    """
    checked(terms.steps)
    yesterday = (now or timezone.now()).astimezone(UTC).date() - timedelta(days=1)
    rows = [row for back in range(days - 1, -1, -1) for row in _of_day(terms, yesterday - timedelta(days=back))]
    names = dict(Organization.objects.filter(pk__in={row["customer"] for row in rows}).values_list("pk", "slug"))
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        sums[row["currency"]] += row["credit"]
        row |= {"customer": names[row["customer"]], "credit": text_of(row["credit"])}
    return {"days": rows, "credits": {currency: text_of(micros) for currency, micros in sorted(sums.items())}}


def _of_day(terms: Imagined, day: date) -> Iterator[dict[str, Any]]:
    span: dict[str, Any] = {"start": midnight(day), "end": midnight(day + timedelta(days=1))}
    for fact in facts_of(IMAGINED, span | {"pool": terms.pool.pk, "kind": terms.kind}):
        credit = credit_of(terms.steps, fact.good, fact.total, least_of(terms.kind, terms.minimum))
        yield {"day": day, "customer": fact.organization, "currency": fact.currency, "good": fact.good, "total": fact.total,
               "credit_basis_points": credit, "credit": _sum(fact, credit)}  # fmt: skip


def _sum(fact: Facts, credit: int) -> int:
    return sum(share_of(paid, credit) for paid in fact.paid)
