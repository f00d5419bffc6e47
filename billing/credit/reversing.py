"""Reversal: a payment that bounced, or was recorded by mistake, is taken back, whole or in part. What it had paid is owed again.

    the payment                    dr user_receivable (what it had paid), user_prepaid (the rest)   cr platform_cash
    payments from the wallet       dr user_receivable   cr user_prepaid

The rest (what no invoice took, and what credit notes took of those that it had paid) is asked from the wallet, and asked first:
of a part, invoices lose only what the wallet does not hold. Has the wallet spent it, then its newest payments are reversed too,
until it has enough: all of it in one transaction, which also withdraws payouts that wait and pay shares of what is owed again
(`settlement/withdrawing.py`). What the wallet holds afterwards pays what is owed again, as always. Locks: runs of payouts, final
invoices by due date, allowances (wallet.py), payouts by number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from billing.credit.settling import settle_from_wallet
from billing.invoices.dunning import follow_blocks
from billing.invoices.posting import Side, post_legs
from billing.invoices.states import OWED
from billing.models import Grant, Invoice, JournalEntry, Payment, PaymentAllocation, PaymentReversal, ReversedAllocation
from billing.settlement.withdrawing import wait_for_runs, withdraw_payouts
from billing.telling import tell_invoices, tell_reversal, tell_withdrawn
from core.errors import Conflict, Invalid
from marketplace.models import Allowance, User
from marketplace.services.credit import lock_allowances

FROM_WALLET: Final = frozenset({Payment.Method.PREPAID, Payment.Method.GRANT})
# Guarded: who is not owed or paid stays as it is, and the trigger compares `paid` with what the rows say.
_UNPAY: Final = """
UPDATE billing_invoice invoice
   SET paid_micros = invoice.paid_micros - taken.micros,
       state = CASE WHEN state <> 'paid' THEN state WHEN due_at <= %(now)s THEN 'overdue' ELSE 'finalized' END,
       ended_at = NULL
  FROM (SELECT invoice, sum(micros) AS micros FROM unnest(%(invoices)s::bigint[], %(micros)s::bigint[]) AS one (invoice, micros)
         GROUP BY 1) taken
 WHERE invoice.id = taken.invoice AND invoice.state IN ('finalized', 'overdue', 'paid')
"""


class Part(NamedTuple):
    """What a payment paid of an invoice, in micros."""

    allocation: int
    payment: int
    invoice: int
    micros: int


def plan(
    amount: int, mine: Sequence[Part], wallets: Sequence[Part], paid: Mapping[int, int], prepaid: int, unused: int
) -> tuple[list[Part], int]:
    """What invoices lose when `amount` of a payment is reversed, and how much the wallet lacks all the same (0: nothing). Pure.

    mine      what the payment had paid; what credit notes took of it since (`paid` is less) is asked from the wallet
    unused    what no invoice took of the payment: the wallet gives that first, as far as it holds it
    wallets   what the wallet paid, the newest first: as many as the wallet needs to have enough
    paid      invoice -> what of it is paid now        prepaid   what the wallet holds, without grants

    >>> plan(10, [Part(1, 7, 70, 6)], [Part(2, 8, 71, 3), Part(3, 9, 72, 5)], {70: 6, 71: 3, 72: 5}, 0, 4)
    ([Part(allocation=1, payment=7, invoice=70, micros=6), Part(allocation=2, payment=8, invoice=71, micros=3), \
Part(allocation=3, payment=9, invoice=72, micros=5)], 0)
    >>> plan(10, [Part(1, 7, 70, 6)], [Part(2, 8, 71, 3)], {70: 4, 71: 3}, 2, 4)
    ([Part(allocation=1, payment=7, invoice=70, micros=4), Part(allocation=2, payment=8, invoice=71, micros=3)], 1)
    >>> plan(5, [Part(1, 7, 70, 6)], [], {70: 6}, 4, 4)
    ([Part(allocation=1, payment=7, invoice=70, micros=1)], 0)
    """
    left, taken = dict(paid), list[Part]()

    def take(part: Part, most: int) -> int:
        micros = min(part.micros, left[part.invoice], most)
        left[part.invoice] -= micros
        if micros:
            taken.append(part._replace(micros=micros))
        return micros

    owed = amount - min(amount, unused, max(prepaid, 0))
    for part in mine:
        owed -= take(part, owed)
    missing = amount - sum(part.micros for part in taken) - prepaid
    for part in wallets:
        if missing > 0:
            missing -= take(part, part.micros)
    return taken, max(missing, 0)


def reverse_payment(
    payment: Payment, reason: str, by: User | None = None, now: datetime | None = None, micros: int | None = None
) -> PaymentReversal:
    """Take a payment back, whole, or so many micros of it. Once: repeated, the reversal that there is is returned.

    A constant number of statements. Raises Invalid `amount_invalid`, Conflict `payment_from_wallet | payment_reversed |
    invoice_over | wallet_short`.
    """
    wanted = PaymentReversal(
        reason=reason, reversed_by=by, reversed_at=now or timezone.now(),
        amount_micros=payment.amount_micros if micros is None else micros,
    )  # fmt: skip
    _check(payment, wanted)
    with transaction.atomic():
        wait_for_runs()
        invoices = _lock(payment)
        reversal = _known(payment, wanted) or _take_back(payment, invoices, wanted)
    settle_from_wallet([payment.organization_id], wanted.reversed_at)  # grants, and what was taken back beyond what was needed
    return reversal


def _check(payment: Payment, wanted: PaymentReversal) -> None:
    if payment.method in FROM_WALLET:
        raise Conflict("payment_from_wallet", "the wallet made this payment: reverse the money that came into it")
    if not 0 < wanted.amount_micros <= payment.amount_micros:
        raise Invalid("amount_invalid", "more than nothing and no more than the payment is reversed", field="amount")


def _known(payment: Payment, wanted: PaymentReversal) -> PaymentReversal | None:
    known = PaymentReversal.objects.filter(payment=payment).first()
    if known and known.amount_micros != wanted.amount_micros:
        detail = "another amount of this payment was reversed, and a payment is reversed once"
        raise Conflict("payment_reversed", detail, field="amount")
    return known


def _take_back(payment: Payment, invoices: Mapping[int, Invoice], wanted: PaymentReversal) -> PaymentReversal:
    at = wanted.reversed_at
    parts = _plan(payment, invoices, wanted.amount_micros)
    reversal = _post(payment, parts, wanted)
    _unpay(parts, at)
    owed = sorted({part.invoice for part in parts})
    again = [one for one in owed if invoices[one].state == Invoice.State.PAID]
    tell_withdrawn(withdraw_payouts(again, at), at)
    tell_reversal(reversal, owed)
    tell_invoices(again, "overdue", at)
    follow_blocks()
    return reversal


def _lock(payment: Payment) -> dict[int, Invoice]:
    """Lock all that the reversal may touch; two reversals of one payment come after each other here."""
    rows = Invoice.objects.filter(organization=payment.organization_id, currency=payment.currency)
    rows = rows.filter(state__in=[*OWED, Invoice.State.PAID]).order_by("due_at", "pk")
    invoices = {one.pk: one for one in rows.select_for_update()}
    lock_allowances([payment.organization_id])
    return invoices


def _plan(payment: Payment, invoices: Mapping[int, Invoice], amount: int) -> list[Part]:
    mine = _parts(Q(payment=payment))
    if any(part.invoice not in invoices for part in mine):
        raise Conflict("invoice_over", "an invoice that this payment paid a part of was given up: that part stays paid")
    from_wallet = Q(invoice__in=list(invoices), payment__method=Payment.Method.PREPAID, payment__reversal=None)
    theirs = _parts(from_wallet)
    paid = {number: one.paid_micros for number, one in invoices.items()}
    parts, missing = plan(amount, mine, theirs, paid, _prepaid(payment), payment.prepaid_micros)
    if missing:
        raise Conflict("wallet_short", "the wallet has spent this money on invoices that are over")
    return parts


def _parts(payments: Q) -> list[Part]:
    """What payments paid, the newest first."""
    rows = PaymentAllocation.objects.filter(payments)
    return [Part(*row) for row in rows.order_by("-payment", "-pk").values_list("pk", "payment", "invoice", "amount_micros")]


def _prepaid(payment: Payment) -> int:
    """What the wallet holds of this currency in no grant. Its allowance is locked."""
    mine = {"organization": payment.organization_id, "currency": payment.currency}
    holds = Allowance.objects.filter(**mine).values_list("prepaid_micros", flat=True).first() or 0
    grants = Grant.objects.filter(**mine, left_micros__gt=0).aggregate(left=Sum("left_micros"))["left"] or 0
    return int(holds) - int(grants)


def _post(payment: Payment, parts: Sequence[Part], wanted: PaymentReversal) -> PaymentReversal:
    """An entry and a reversal per payment; the one that was asked for is returned."""
    by, at = wanted.reversed_by, wanted.reversed_at
    amounts = Counter({payment.pk: wanted.amount_micros})
    for part in parts:
        if part.payment != payment.pk:
            amounts[part.payment] += part.micros
    causes = {payment.pk: None} | {part.payment: payment for part in parts if part.payment != payment.pk}
    made = JournalEntry.objects.bulk_create(JournalEntry(key=f"reversal/{one}", kind="reversal", posted_at=at) for one in causes)
    entries = dict(zip(causes, made, strict=True))
    post_legs(_sides(payment, parts, entries, wanted.amount_micros))
    kept = PaymentReversal.objects.bulk_create(
        PaymentReversal(
            payment_id=one, reason=wanted.reason, reversed_at=at, reversed_by=by, with_payment=cause, entry=entries[one],
            amount_micros=amounts[one],
        )
        for one, cause in causes.items()
    )  # fmt: skip
    reversals = dict(zip(causes, kept, strict=True))
    ReversedAllocation.objects.bulk_create(
        ReversedAllocation(allocation_id=part.allocation, reversal=reversals[part.payment], amount_micros=part.micros)
        for part in parts
    )
    reversals[payment.pk].payment = payment
    return reversals[payment.pk]


def _sides(payment: Payment, parts: Sequence[Part], entries: Mapping[int, JournalEntry], amount: int) -> Iterable[Side]:
    party, currency = payment.organization_id, payment.currency
    rest = amount - sum(part.micros for part in parts if part.payment == payment.pk)
    for part in parts:
        yield Side(entries[part.payment].pk, "user_receivable", party, currency, part.micros)
        if part.payment != payment.pk:
            yield Side(entries[part.payment].pk, "user_prepaid", party, currency, -part.micros)
    yield Side(entries[payment.pk].pk, "user_prepaid", party, currency, rest)
    yield Side(entries[payment.pk].pk, "platform_cash", None, currency, -amount)


def _unpay(parts: Sequence[Part], at: datetime) -> None:
    with connection.cursor() as cursor:
        given: dict[str, Any] = {"invoices": [part.invoice for part in parts], "micros": [part.micros for part in parts]}
        cursor.execute(_UNPAY, given | {"now": at})
