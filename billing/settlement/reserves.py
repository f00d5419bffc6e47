"""A payee's rolling reserve: a part of each payout is kept back for some days, and covers what the payee comes to owe meanwhile.

    payout, paid    dr provider_payable, publisher_payable   cr platform_cash, provider_reserve (what is kept back)
    release         dr provider_reserve   cr provider_payable

What a run keeps back is a row and a line of the payout, below zero, made by the statement that gathers (`sql.GATHER`); a cancelled
payout keeps nothing back. What is released becomes a share of its own, due at once, which stays so whatever becomes of payouts.
`provider_reserve` is at any time what `Withholding`s of paid payouts come to, less their releases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection
from django.db.models import Case, F, Q, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from billing.invoices.posting import Side, post_legs
from billing.models import JournalEntry, ReserveRelease, ReserveTerms, Withholding
from billing.models.reserves import MOST_DAYS, MOST_POINTS
from billing.settlement.sql import DRAWN, OVER
from core.errors import Conflict, Invalid
from marketplace.models import Organization, User

STATES: Final = ("pending", "held", "released", "cancelled")


class Freed(NamedTuple):
    """What of a withholding is owed to its payee again, in micros. `gone`: what was released of it before."""

    withholding: int
    organization: int
    currency: str
    gone: int
    micros: int


class Terms(NamedTuple):
    """What is kept back: basis points of a payout, for so many days. From `starts_at` on; None: from now."""

    basis_points: int
    days: int
    starts_at: datetime | None = None
    note: str = ""


def free_reserves(given: dict[str, Any], at: datetime) -> int:
    """Release what was kept back long enough, then let payees who owe draw on the rest. Inside the lock of runs.

    `given` are the terms of the run (`payouts._terms`). A constant number of statements. Returns how many rows were made.
    """
    made = 0
    with connection.cursor() as cursor:
        for kind, statement in ((ReserveRelease.Kind.RELEASED, OVER), (ReserveRelease.Kind.DRAWN, DRAWN)):
            cursor.execute(statement, given)
            freed = [Freed(*row) for row in cursor.fetchall()]
            _post(freed, kind, at)
            made += len(freed)
    return made


def _post(freed: Sequence[Freed], kind: str, at: datetime) -> None:
    """An entry and a row each. Keys say how much was released before, so that each is made once."""
    entries = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"reserve/{one.withholding}/{one.gone}", kind="reserve", posted_at=at) for one in freed
    )
    pairs = list(zip(freed, entries, strict=True))
    post_legs(side for one, entry in pairs for side in _sides(one, entry.pk))
    ReserveRelease.objects.bulk_create(
        ReserveRelease(withholding_id=one.withholding, kind=kind, amount_micros=one.micros, released_at=at, entry=entry)
        for one, entry in pairs
    )


def _sides(one: Freed, entry: int) -> Iterable[Side]:
    yield Side(entry, "provider_reserve", one.organization, one.currency, one.micros)
    yield Side(entry, "provider_payable", one.organization, one.currency, -one.micros)


def agree_terms(organization: Organization, terms: Terms, by: User | None = None, now: datetime | None = None) -> ReserveTerms:
    """Agree on a payee's reserve from a moment on. The same again is the same; what was kept back before stays as it was.

    Raises Invalid `reserve_invalid`, Conflict `reserve_terms_taken`: others start at that moment.
    """
    at = now or timezone.now()
    start = terms.starts_at or at
    wanted = {"basis_points": terms.basis_points, "days": terms.days}
    known = ReserveTerms.objects.filter(organization=organization, starts_at=start).first()
    if known is None:
        _check(terms, start, at)
        fields: dict[str, Any] = {"note": terms.note, "agreed_at": at, "agreed_by": by, **wanted}
        known, _ = ReserveTerms.objects.get_or_create(organization=organization, starts_at=start, defaults=fields)
    if (known.basis_points, known.days) != (terms.basis_points, terms.days):
        raise Conflict("reserve_terms_taken", "other terms start at this moment", field="starts_at")
    return known


def _check(terms: Terms, start: datetime, at: datetime) -> None:
    if not 0 <= terms.basis_points <= MOST_POINTS:
        raise Invalid("reserve_invalid", f"from 0 to {MOST_POINTS} basis points are kept back", field="basis_points")
    if not 0 <= terms.days <= MOST_DAYS:
        raise Invalid("reserve_invalid", f"a reserve is kept for at most {MOST_DAYS} days", field="days")
    if start < at:
        raise Invalid("reserve_invalid", "terms start now or later: what was kept back stays as it was", field="starts_at")


def reserves_of(organization: Organization | None) -> QuerySet[Withholding]:
    """What was kept back of an organization's payouts (None: everybody's), with `drawn`, `released`, `left` and `state`."""
    rows = Withholding.objects.select_related("organization", "payout").annotate(
        drawn=_summed("drawn"), released=_summed("released"), left=F("amount_micros") - F("drawn") - F("released")
    )
    state = Case(
        When(payout__state="cancelled", then=Value("cancelled")),
        When(~Q(payout__state="paid"), then=Value("pending")),
        When(left__gt=0, then=Value("held")),
        default=Value("released"),
    )
    rows = rows.annotate(state=state)
    return rows if organization is None else rows.filter(organization=organization)


def _summed(kind: str) -> Coalesce:
    return Coalesce(Sum("releases__amount_micros", filter=Q(releases__kind=kind)), Value(0))


def balances_of(organization: Organization) -> list[dict[str, Any]]:
    """A payee's reserve by currency: `{currency, held, pending, next_release_at}`; `pending` is of payouts that are not out."""
    found: dict[str, dict[str, Any]] = {}
    rows: QuerySet[Any] = reserves_of(organization)
    for one in rows.filter(state__in=("held", "pending")).order_by("currency", "release_at"):
        row = found.setdefault(one.currency, {"currency": one.currency, "held": 0, "pending": 0, "next_release_at": None})
        row[one.state] += one.left
        if one.state == "held":
            row["next_release_at"] = row["next_release_at"] or one.release_at
    return list(found.values())


def terms_of(organization: Organization | None) -> QuerySet[ReserveTerms]:
    """An organization's terms (None: everybody's)."""
    rows = ReserveTerms.objects.select_related("organization")
    return rows if organization is None else rows.filter(organization=organization)
