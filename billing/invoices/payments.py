"""Money that came in: what it pays, and what of it is left over as prepaid balance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Final

from django.db import transaction
from django.utils import timezone

from billing.invoices.dunning import follow_blocks
from billing.invoices.posting import post
from billing.invoices.states import OWED
from billing.models import Invoice, Payment, PaymentAllocation, PaymentReversal
from billing.rating.currencies import minor_units
from billing.telling import tell_invoices, tell_payment
from core.errors import Conflict, Invalid
from core.money import to_micros
from marketplace.models import User

MOST: Final = 2**62
LONGEST: Final = 100  # of an entry's key


@dataclass(frozen=True, slots=True)
class Receipt:
    """Money that somebody received. `key` names its source: the same key counts once.

    invoices   those that it pays, as far as it goes, the first due first; what is left becomes prepaid balance
    """

    key: str
    organization: int
    currency: str
    micros: int
    method: str
    received_on: date
    invoices: Sequence[int] = ()
    reference: str = ""
    by: User | None = None


def allocate(micros: int, open_amounts: Sequence[int]) -> tuple[list[int], int]:
    """What each open amount gets, in order, and what is left over. Pure.

    >>> allocate(10, [4, 8, 1]), allocate(10, [4])
    (([4, 6, 0], 0), ([4], 6))
    """
    parts = []
    for amount in open_amounts:
        parts.append(min(micros, amount))
        micros -= parts[-1]
    return parts, micros


def micros_in(amount: Decimal, currency: str) -> int:
    """An amount as micro-units. Raises Invalid `amount_invalid` for what nobody can pay in that currency. Pure.

    >>> micros_in(Decimal("1.500000"), "CNY"), micros_in(Decimal("0.001"), "KWD")
    (1500000, 1000)
    """
    micros, places = to_micros(amount), minor_units(currency)
    if micros % 10 ** (6 - places):
        raise Invalid("amount_invalid", f"an amount in {currency} has no more than {places} decimals", field="amount")
    return micros


def entry_key(key: str) -> str:
    """What names a payment's entry; of a key that is too long the end is a digest of it all, so that no two meet. Pure.

    >>> entry_key("bank/1"), len(entry_key("x" * 100))
    ('payment/bank/1', 100)
    """
    whole = f"payment/{key}"
    return whole if len(whole) <= LONGEST else f"{whole[:59]}/{sha256(key.encode()).hexdigest()[:40]}"


def open_micros(invoice: Invoice) -> int:
    """What is still to be paid of an invoice."""
    return invoice.total_micros - invoice.paid_micros - invoice.credited_micros


def record_payment(receipt: Receipt, now: datetime | None = None) -> Payment:
    """Record a payment, pay invoices with it, post it. The same key again returns the payment that there is.

    Raises Invalid `amount_invalid`, Conflict `payment_conflict | payment_reversed | invoice_not_owed`.
    """
    if not 0 < receipt.micros <= MOST:
        raise Invalid("amount_invalid", "a payment is more than nothing", field="amount")
    at = now or timezone.now()
    with transaction.atomic():
        invoices = _owed(receipt)
        if known := Payment.objects.filter(key=receipt.key).first():
            return _same(known, receipt)
        _check(receipt, invoices)
        parts, left = allocate(receipt.micros, [open_micros(one) for one in invoices])
        payment = _payment(receipt, left, at)
        paid = [(invoice, part) for invoice, part in zip(invoices, parts, strict=True) if part]
        PaymentAllocation.objects.bulk_create(
            PaymentAllocation(payment=payment, invoice=invoice, amount_micros=part) for invoice, part in paid
        )
        for invoice, part in paid:
            settle(invoice, paid=part, at=at)
        tell_payment(payment)
        tell_invoices([invoice.pk for invoice, _ in paid], "paid", at)
        follow_blocks()
    return payment


def _owed(receipt: Receipt) -> list[Invoice]:
    rows = Invoice.objects.filter(pk__in=receipt.invoices, organization=receipt.organization, currency=receipt.currency)
    return list(rows.order_by("due_at", "pk").select_for_update())


def _same(known: Payment, receipt: Receipt) -> Payment:
    if (known.organization_id, known.currency, known.amount_micros) != (receipt.organization, receipt.currency, receipt.micros):
        raise Conflict(
            "payment_conflict", "this reference was recorded with another amount or for somebody else", field="reference"
        )
    check_stands(known)
    return known


def check_stands(known: Payment) -> None:
    """Raises Conflict `payment_reversed`: under its reference nothing counts again."""
    if PaymentReversal.objects.filter(payment=known).exists():
        raise Conflict("payment_reversed", "this payment was reversed: money that came again has another name", field="reference")


def _check(receipt: Receipt, invoices: Sequence[Invoice]) -> None:
    if len(invoices) != len(set(receipt.invoices)) or any(one.state not in OWED for one in invoices):
        raise Conflict("invoice_not_owed", "nothing is owed for this invoice in this currency", field="invoice")


def _payment(receipt: Receipt, left: int, at: datetime) -> Payment:
    sides = [
        ("platform_cash", None, receipt.micros),
        ("user_receivable", receipt.organization, left - receipt.micros),
        ("user_prepaid", receipt.organization, -left),
    ]
    return Payment.objects.create(
        key=receipt.key,
        organization_id=receipt.organization,
        currency=receipt.currency,
        method=receipt.method,
        amount_micros=receipt.micros,
        prepaid_micros=left,
        reference=receipt.reference,
        received_on=receipt.received_on,
        recorded_at=at,
        recorded_by=receipt.by,
        entry=post(entry_key(receipt.key), "payment", at, receipt.currency, sides),
    )


def settle(invoice: Invoice, *, paid: int = 0, credited: int = 0, at: datetime) -> None:
    """Count what was paid or credited, and write it down."""
    count(invoice, paid=paid, credited=credited, at=at)
    invoice.save(update_fields=["paid_micros", "credited_micros", "state", "ended_at"])


def count(invoice: Invoice, *, paid: int = 0, credited: int = 0, at: datetime) -> None:
    """Count what was paid or credited; an invoice for which nothing is open any more is paid."""
    invoice.paid_micros += paid
    invoice.credited_micros += credited
    if not open_micros(invoice) and invoice.state in OWED:
        invoice.state, invoice.ended_at = Invoice.State.PAID, at
