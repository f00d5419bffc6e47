"""Payout runs and what operators decide about payouts. Sending is in `sending.py`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing.models import Payout, PayoutRun, Withholding
from billing.rating.currencies import MINOR_UNITS
from billing.settlement.reserves import free_reserves
from billing.settlement.sql import GATHER
from billing.settlement.states import sources
from billing.telling import tell_withdrawn
from core.errors import Conflict
from core.money import MICROS
from marketplace.models import User

GATHER_LOCK: Final = 0x67_66_70_6F  # advisory: one run at a time
_LOCK: Final = "SELECT pg_advisory_xact_lock(%s)"
_PLACES: Final = {currency: places for currency, places in MINOR_UNITS.items() if places <= 6}


def gather(now: datetime | None = None, by: User | None = None) -> PayoutRun | None:
    """Gather all that is due into draft payouts, one per payee and currency; None when there is nothing.

    Payees whose due shares, with what earlier payouts left over, come to less than the minimum wait for the next run: so small
    sums grow, and negative ones are carried. First reserves are released whose days are over, and drawn on by payees who owe:
    a transaction of its own, which stands even where nothing can be gathered. Then a part of each payout is kept back.
    """
    at = now or timezone.now()
    if Withholding.objects.exists():
        _free(at)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, [GATHER_LOCK])
        run = PayoutRun.objects.create(as_of=at, hold_days=settings.PAYOUT_HOLD_DAYS, made_at=timezone.now(), made_by=by)
        cursor.execute(GATHER, _terms(at) | {"run": run.pk})
        if cursor.fetchone()[0]:
            return run
        transaction.set_rollback(True)
    return None


def _free(at: datetime) -> None:
    """A transaction of its own: what is released stays so, whether the run finds something to gather or not."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK, [GATHER_LOCK])
        free_reserves(_terms(at), at)


def _terms(at: datetime) -> dict[str, Any]:
    return {
        "as_of": at,
        "hold": timedelta(days=settings.PAYOUT_HOLD_DAYS),
        "guaranteed": settings.PAYOUT_GUARANTEED,
        "minimum": settings.PAYOUT_MINIMUM * MICROS,
        "points": settings.PAYOUT_RESERVE_BPS,
        "days": settings.PAYOUT_RESERVE_DAYS,
        "currencies": list(_PLACES),
        "minors": [MICROS // 10**places for places in _PLACES.values()],
    }


def approve(payout: Payout, by: User, now: datetime | None = None) -> Payout:
    """Let a draft go out with the next sending. Raises Conflict `payout_moved`."""
    if payout.state == Payout.State.FAILED:
        raise Conflict("payout_moved", "this payout failed: retry it")
    return _move(payout, "approved", approved_at=now or timezone.now(), approved_by=by)


def retry(payout: Payout, by: User, now: datetime | None = None) -> Payout:
    """Let a failed payout go out again, as a new attempt. Raises Conflict `payout_moved`."""
    if payout.state != Payout.State.FAILED:
        raise Conflict("payout_moved", f"this payout is {payout.state}; only failed ones are retried")
    return _move(payout, "approved", approved_at=now or timezone.now(), approved_by=by)


def cancel(payout: Payout, reason: str, now: datetime | None = None) -> Payout:
    """Give a payout up before any money moved; what it held waits for the next run. Raises Conflict `payout_moved`."""
    at = now or timezone.now()
    with transaction.atomic():
        given_up = _move(payout, "cancelled", reason=reason, ended_at=at)
        tell_withdrawn([payout.pk], at)
    return given_up


def _move(payout: Payout, state: str, **fields: object) -> Payout:
    """One guarded move, from where the caller saw the payout."""
    if payout.state in sources(state) and Payout.objects.filter(pk=payout.pk, state=payout.state).update(state=state, **fields):
        payout.refresh_from_db()
        return payout
    payout.refresh_from_db()
    raise Conflict("payout_moved", f"this payout is {payout.state}, and cannot become {state}")
