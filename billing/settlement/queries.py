"""What payees can be asked about: their shares, and how each stands; payouts and what they pay."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, cast

from django.conf import settings
from django.db import connection
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from billing.models import Charge, DisputedCharge, Payout, PayoutLine, PeriodCharge
from billing.settlement import sql
from billing.settlement.payables import Share, due_at, standing
from core.money import text_of
from core.spreadsheets import safe_cell
from marketplace.models import Organization

COLUMNS: Final = (
    "charge", "kind", "task", "attempt", "capability", "pool", "units", "core_seconds", "currency", "amount", "share", "state",
    "due_at", "payout", "charged_at", "period_charge", "meter",
)  # fmt: skip
STANDINGS: Final = ("disputed", "unpaid", "held_back", "due", "in_payout", "paid")
_ROWS: Final = 2000


class Period(NamedTuple):
    """[start, end) of the moments of charging; None: open."""

    start: datetime | None = None
    end: datetime | None = None


ALWAYS: Final = Period()


def shares_of(organization: Organization, role: str, period: Period = ALWAYS) -> QuerySet[Charge]:
    """The charges of which a payee has a share, with what a statement shows of it; a query more each for payouts and disputes."""
    rows = Charge.objects.filter(**{role: organization}).exclude(**{f"{role}_micros": 0})
    if period.start is not None:
        rows = rows.filter(charged_at__gte=period.start)
    if period.end is not None:
        rows = rows.filter(charged_at__lt=period.end)
    taken = PayoutLine.objects.filter(role=role).select_related("payout")
    return rows.select_related(
        "usage__pool", "task__capability_version__capability__organization", "invoiced__line__invoice"
    ).prefetch_related(
        Prefetch("payout_lines", taken, to_attr="taken"),
        Prefetch("disputed", DisputedCharge.objects.filter(state="open"), to_attr="doubts"),
        Prefetch("takes_back", DisputedCharge.objects.select_related("charge__invoiced__line__invoice")),
    )


def line_of(charge: Charge, role: str, now: datetime) -> dict[str, Any]:
    """One line of a payee's statement: a share of a charge, and how it stands. Amounts are decimal text."""
    micros = getattr(charge, f"{role}_micros")
    taken = next(iter(cast(Any, charge).taken), None)  # what Prefetch put there
    back = next(iter(charge.takes_back.all()), None)
    share = Share(micros, charge.payer, charge.charged_at, _paid_at((back and back.charge) or charge), back is not None)
    stands = _stands(share, taken, now, disputed=bool(cast(Any, charge).doubts))
    return _facts(charge) | {"share": text_of(micros)} | stands


def period_shares_of(organization: Organization, role: str, period: Period = ALWAYS) -> QuerySet[PeriodCharge]:
    """The charges by period of which a payee has a share, as `shares_of` gives those of tasks."""
    rows = PeriodCharge.objects.filter(**{role: organization}).exclude(**{f"{role}_micros": 0})
    if period.start is not None:
        rows = rows.filter(rated_at__gte=period.start)
    if period.end is not None:
        rows = rows.filter(rated_at__lt=period.end)
    taken = PayoutLine.objects.select_related("payout")
    joined = rows.select_related(
        "offer__pool", "version__capability__organization", "invoiced__line__invoice", "refunds__invoiced__line__invoice"
    )
    return joined.prefetch_related(
        Prefetch("payout_lines", taken, to_attr="taken"),
        Prefetch("disputed", DisputedCharge.objects.filter(state="open"), to_attr="doubts"),
    )


def period_line_of(charge: PeriodCharge, now: datetime) -> dict[str, Any]:
    """One line of a payee's statement: its share of a charge by period, and how it stands. Amounts are decimal text."""
    back = charge.refunds
    micros = charge.provider_micros + charge.publisher_micros  # one of both is nothing
    share = Share(micros, charge.payer, charge.rated_at, _paid_at(back or charge), back is not None)
    stands = _stands(share, next(iter(cast(Any, charge).taken), None), now, disputed=bool(cast(Any, charge).doubts))
    return {
        "period_charge": charge.pk,
        "revision": charge.revision,
        "refunds": charge.refunds_id,
        "pool": charge.pool,
        "capability": charge.capability,
        "meter": charge.meter,
        "from": charge.period.lower,
        "to": charge.period.upper,
        "currency": charge.currency,
        "amount": text_of(charge.amount_micros),
        "share": text_of(share.micros),
        "charged_at": charge.rated_at,
    } | stands


def _stands(share: Share, taken: PayoutLine | None, now: datetime, *, disputed: bool = False) -> dict[str, Any]:
    """How a share stands, when it may go out, and the payout that it is in."""
    due = due_at(share, timedelta(days=settings.PAYOUT_HOLD_DAYS), guaranteed=settings.PAYOUT_GUARANTEED)
    state = standing(due, taken.payout.state if taken else None, now, disputed=disputed)
    return {"state": state, "due_at": due, "payout": taken.payout_id if taken and state in {"in_payout", "paid"} else None}


def standings_of(organization: Organization, role: str, period: Period, now: datetime) -> list[dict[str, Any]]:
    """A payee's shares of the period added up by how they stand: `{state, currency, shares, micros}`, in the order of STANDINGS.

    One statement; the period has both ends.
    """
    given: dict[str, Any] = {"role": role, "payee": organization.pk, "start": period.start, "end": period.end, "now": now}
    hold = timedelta(days=settings.PAYOUT_HOLD_DAYS)
    with connection.cursor() as cursor:
        cursor.execute(sql.STANDINGS, given | {"hold": hold, "guaranteed": settings.PAYOUT_GUARANTEED})
        rows = cursor.fetchall()
    found = [dict(zip(("state", "currency", "shares", "micros"), (*row[:3], int(row[3])), strict=True)) for row in rows]
    return sorted(found, key=lambda one: (one["currency"], STANDINGS.index(one["state"])))


def _paid_at(charge: Charge | PeriodCharge) -> datetime | None:
    invoiced = getattr(charge, "invoiced", None)
    invoice = invoiced.line.invoice if invoiced else None
    return invoice.ended_at if invoice is not None and invoice.state == "paid" else None


def _facts(charge: Charge) -> dict[str, Any]:
    usage, version = charge.usage, charge.task.capability_version
    counted = None if charge.kind == Charge.Kind.REFUND else usage  # a refund takes back money, no work
    return {
        "charge": charge.pk,
        "kind": charge.kind,
        "task": str(charge.task_id),
        "attempt": usage.attempt_id if usage else None,
        "capability": f"{version.capability.organization.slug}/{version.capability.name}@{version.version}",
        "pool": usage.pool.identifier if usage else None,
        "units": int(counted is not None and counted.outcome == "valid" and counted.stage == 0),
        "core_seconds": text_of(counted.core_ms * 1000) if counted else text_of(0),
        "currency": charge.currency,
        "amount": text_of(charge.amount_micros),
        "charged_at": charge.charged_at,
    }


def csv_of(organization: Organization, role: str, period: Period) -> Iterator[bytes]:
    """A payee's statement as CSV in pieces: shares of tasks' charges, then those of charges by period; each oldest first."""
    yield _csv([COLUMNS])
    now = timezone.now()
    for charge in shares_of(organization, role, period).order_by("pk").iterator(chunk_size=_ROWS):
        yield _csv([_cells(line_of(charge, role, now))])
    for month in period_shares_of(organization, role, period).order_by("pk").iterator(chunk_size=_ROWS):
        yield _csv([_cells(period_line_of(month, now) | {"kind": "period"})])


def _cells(line: dict[str, Any]) -> list[Any]:
    values = [line.get(name) for name in COLUMNS]
    return [safe_cell("" if value is None else value) for value in values]


def _csv(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def payouts_shown(organization: Organization | None) -> QuerySet[Payout]:
    """An organization's payouts; with None all, for operators."""
    rows = Payout.objects.select_related("organization", "withholding")
    return rows if organization is None else rows.filter(organization=organization)
