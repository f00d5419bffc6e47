"""The wallet: money that was paid in before it is owed, and credit that was given. It pays invoices by itself.

    top-up    dr platform_cash        cr user_prepaid         money that came in for no invoice
    grant     dr platform_promotion   cr user_grant           given away until a moment
    settle    dr user_grant, user_prepaid   cr user_receivable    the wallet pays an invoice
    expire    dr user_grant           cr platform_promotion   what is left of a grant at its end
    reversal  dr user_receivable, user_prepaid   cr platform_cash   money that bounced (reversing.py)

Locks are taken in one order: invoices by due date, allowances by id, grants by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from django.db import connection, transaction
from django.utils import timezone

from billing.credit.settling import settle_from_wallet
from billing.invoices.payments import check_stands
from billing.invoices.posting import Side, post, post_legs
from billing.models import Grant, GrantMove, JournalEntry, Payment
from billing.telling import tell_payment
from core.errors import Conflict, Invalid
from marketplace.models import User
from marketplace.services.credit import lock_allowances

MOST: Final = 10**18  # micros of one gift or payment
CHUNK: Final = 1000
Kept = TypeVar("Kept", Payment, Grant)


@dataclass(frozen=True, slots=True)
class TopUp:
    """Money that came in for a wallet. `key` names its source: the same key counts once."""

    key: str
    organization: int
    currency: str
    micros: int
    by: User | None = None


@dataclass(frozen=True, slots=True)
class Gift:
    """A grant to be: so much until a moment, and why. The same key is given once."""

    key: str
    organization: int
    currency: str
    micros: int
    expires_at: datetime
    reason: str
    by: User | None = None


def top_up(wanted: TopUp, now: datetime | None = None) -> Payment:
    """Record money for a wallet; what is owed is paid from it at once. The same key again returns what there is.

    Raises Invalid `amount_invalid`, Conflict `payment_conflict | payment_reversed`.
    """
    _check_amount(wanted.micros)
    at = now or timezone.now()
    with transaction.atomic():
        _lock_key(wanted.key)
        known = Payment.objects.filter(key=wanted.key).first()
        if known is not None:
            check_stands(known)
            return _same(known, wanted, "payment_conflict")
        payment = _payment(wanted, at)
        tell_payment(payment)
    settle_from_wallet([wanted.organization], at)
    return payment


def _payment(wanted: TopUp, at: datetime) -> Payment:
    sides = [("platform_cash", None, wanted.micros), ("user_prepaid", wanted.organization, -wanted.micros)]
    return Payment.objects.create(
        key=wanted.key,
        organization_id=wanted.organization,
        currency=wanted.currency,
        method=Payment.Method.OPERATOR,
        amount_micros=wanted.micros,
        prepaid_micros=wanted.micros,
        received_on=timezone.localdate(at),
        recorded_at=at,
        recorded_by=wanted.by,
        entry=post(f"payment/{wanted.key}", "payment", at, wanted.currency, sides),
    )


def give_grant(wanted: Gift, now: datetime | None = None) -> Grant:
    """Give credit; what is owed is paid from it at once. The same key again returns the grant that there is.

    Raises Invalid `amount_invalid | grant_expiry_invalid`, Conflict `grant_conflict`.
    """
    _check_amount(wanted.micros)
    at = now or timezone.now()
    with transaction.atomic():
        _lock_key(wanted.key)
        known = Grant.objects.filter(key=wanted.key).first()
        if known is not None:
            return _same(known, wanted, "grant_conflict")
        if wanted.expires_at <= at:
            raise Invalid("grant_expiry_invalid", "a grant expires in the future", field="expires_at")
        grant = _grant(wanted, at)
    settle_from_wallet([wanted.organization], at)
    grant.refresh_from_db()
    return grant


def _grant(wanted: Gift, at: datetime) -> Grant:
    sides = [("platform_promotion", None, wanted.micros), ("user_grant", wanted.organization, -wanted.micros)]
    return Grant.objects.create(
        key=wanted.key,
        organization_id=wanted.organization,
        currency=wanted.currency,
        amount_micros=wanted.micros,
        left_micros=wanted.micros,
        expires_at=wanted.expires_at,
        reason=wanted.reason,
        granted_at=at,
        granted_by=wanted.by,
        entry=post(f"grant/{wanted.key}", "grant", at, wanted.currency, sides),
    )


def _check_amount(micros: int) -> None:
    if not 0 < micros <= MOST:
        raise Invalid("amount_invalid", "an amount is more than nothing, and no more than a wallet can count", field="amount")


def _same(known: Kept, wanted: TopUp | Gift, code: str) -> Kept:
    if (known.organization_id, known.currency, known.amount_micros) != (wanted.organization, wanted.currency, wanted.micros):
        raise Conflict(code, "this reference was recorded with another amount or for somebody else", field="reference")
    return known


def _lock_key(key: str) -> None:
    """Two at once with one key: the second waits and finds what the first made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"wallet/{key}"])


def expire_grants(now: datetime | None = None) -> int:
    """Take back what is left of grants that have ended. Returns how many. Repeating it does nothing: one entry per grant."""
    at, done = now or timezone.now(), 0
    due = Grant.objects.filter(left_micros__gt=0, expires_at__lte=at)
    while organizations := list(due.order_by("expires_at", "pk").values_list("organization", flat=True)[:CHUNK]):
        with transaction.atomic():
            lock_allowances(organizations)
            grants = list(due.filter(organization__in=set(organizations)).order_by("pk").select_for_update())
            _expire(grants, at)
        done += len(grants)
    return done


def _expire(grants: Sequence[Grant], at: datetime) -> None:
    entries = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"grant/{one.pk}/expired", kind="expire", posted_at=at) for one in grants
    )
    pairs = list(zip(grants, entries, strict=True))
    post_legs(side for grant, entry in pairs for side in _sides(grant, entry))
    GrantMove.objects.bulk_create(
        GrantMove(grant=grant, kind="expired", amount_micros=grant.left_micros, entry=entry, moved_at=at) for grant, entry in pairs
    )


def _sides(grant: Grant, entry: JournalEntry) -> Iterable[Side]:
    yield Side(entry.pk, "user_grant", grant.organization_id, grant.currency, grant.left_micros)
    yield Side(entry.pk, "platform_promotion", None, grant.currency, -grant.left_micros)
