"""Rows of invoices, written as the services would write them, and a month of charges to close."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from billing.invoices.posting import post
from billing.models import (
    BankLine,
    BankStatement,
    BillingPeriod,
    Charge,
    CreditNote,
    CreditNoteLine,
    DunningNotice,
    FreedPeriod,
    GatewayPayment,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    JournalEntry,
    Leg,
    Payment,
    PaymentAllocation,
    PaymentReversal,
    ReversedAllocation,
    Series,
    Tax,
    TaxAssignment,
    TaxRate,
)
from marketplace.models import Organization, Task
from tests.builders_billing import Market, make_attempt, make_need, make_task, make_usage

MARCH: Final = datetime(2026, 2, 28, 16, tzinfo=UTC)  # midnight in Shanghai
APRIL: Final = datetime(2026, 3, 31, 16, tzinfo=UTC)
CENT: Final = 10_000
_serial = itertools.count(1)
WAY: Final = {  # how an invoice comes to each state
    "gathering": (),
    "draft": ("draft",),
    "grace": ("draft", "grace"),
    "finalized": ("draft", "grace", "finalized"),
    "paid": ("draft", "grace", "finalized", "paid"),
    "overdue": ("draft", "grace", "finalized", "overdue"),
    "void": ("draft", "grace", "finalized", "void"),
    "uncollectible": ("draft", "grace", "finalized", "overdue", "uncollectible"),
}


def make_entry(kind: str = "test") -> JournalEntry:
    return JournalEntry.objects.create(key=f"{kind}/{next(_serial)}", kind=kind, posted_at=APRIL)


def make_period(organization: Organization, starts_at: datetime = MARCH, ends_at: datetime = APRIL, **fields: Any) -> BillingPeriod:
    fields = {"currency": "CNY", "zone": "Asia/Shanghai"} | fields
    return BillingPeriod.objects.create(organization=organization, starts_at=starts_at, ends_at=ends_at, **fields)


def make_invoice(period: BillingPeriod, state: str = "finalized", cents: int = 1_050, **fields: Any) -> Invoice:
    """An invoice of one line without charges, led to a state move by move."""
    net = cents * CENT
    fields = {"net_micros": net, "exact_micros": net, "total_micros": net} | fields
    invoice = Invoice.objects.create(
        period=period, organization=period.organization, currency=period.currency, minor_micros=CENT, **fields
    )
    make_line(invoice, net)
    for move in WAY[state]:
        move_to(invoice, move)
    return invoice


def make_line(invoice: Invoice, micros: int, **fields: Any) -> InvoiceLine:
    times = {"service_from": invoice.period.starts_at, "service_to": invoice.period.ends_at}
    fields = {"number": 1 + invoice.lines.count(), "kind": "period", "exact_micros": micros} | times | fields
    return InvoiceLine.objects.create(invoice=invoice, amount_micros=micros, **fields)


def move_to(invoice: Invoice, state: str) -> None:
    """One move, with what belongs to it."""
    changes: dict[str, Any] = {"state": state}
    if state == "finalized":
        series, _ = Series.objects.get_or_create(issuer="GF", kind="invoice", year=2026)
        sequence = series.last = series.last + 1
        series.save()
        changes |= {"series": series, "sequence": sequence, "number": f"GF-2026-{sequence:06d}"}
        changes |= {"finalized_at": APRIL, "due_at": APRIL + timedelta(days=30)}
    if state in {"paid", "void", "uncollectible"}:
        changes |= {"ended_at": APRIL}
    if invoice.state == "paid" and state in {"finalized", "overdue"}:
        make_reversal(make_payment(invoice, invoice.total_micros))
        changes = {"state": state, "paid_micros": 0, "ended_at": None}
    if state == "paid":
        changes |= {"paid_micros": invoice.total_micros}
    Invoice.objects.filter(pk=invoice.pk).update(**changes)
    invoice.refresh_from_db()


def make_tax(*organizations: Organization, percent: str = "6", code: str = "", start: datetime = MARCH) -> TaxRate:
    tax = Tax.objects.create(code=code or f"vat-{next(_serial)}", name="VAT 增值税")
    always = DateTimeTZRange(start, None)
    for organization in organizations:
        TaxAssignment.objects.create(tax=tax, organization=organization, valid=always)
    return TaxRate.objects.create(tax=tax, percent=Decimal(percent), valid=always)


def make_payment(invoice: Invoice, micros: int) -> Payment:
    payment = Payment.objects.create(
        key=f"test/{next(_serial)}", organization=invoice.organization, currency="CNY", method="operator",
        amount_micros=micros, received_on=date(2026, 4, 2), recorded_at=APRIL, entry=make_entry(),
    )  # fmt: skip
    PaymentAllocation.objects.create(payment=payment, invoice=invoice, amount_micros=micros)
    return payment


def make_reversal(payment: Payment) -> PaymentReversal:
    """The rows that say that a payment was taken back."""
    reversal = PaymentReversal.objects.create(
        payment=payment, amount_micros=payment.amount_micros, reason="bounced", reversed_at=APRIL, entry=make_entry()
    )
    for one in payment.allocations.all():
        ReversedAllocation.objects.create(allocation=one, reversal=reversal, amount_micros=one.amount_micros)
    return reversal


def make_everything(organization: Organization) -> Invoice:
    """One row of every table of invoices but InvoicedCharge, which needs a charge."""
    number = next(_serial)
    start = MARCH - timedelta(days=31 * number)
    rate = make_tax(organization)
    period = make_period(organization, start, start + timedelta(days=31))
    FreedPeriod.objects.create(
        period=period, number=1, parked_code="total_negative", parked_detail="below zero", reason="mended", freed_at=APRIL
    )
    invoice = make_invoice(period, "grace")
    InvoiceTax.objects.create(invoice=invoice, rate=rate, percent=rate.percent, base_micros=0, amount_micros=0)
    move_to(invoice, "finalized")
    make_reversal(make_payment(invoice, CENT))
    payment = make_payment(invoice, CENT)
    gone = {"gateway": "sandbox", "amount_micros": CENT, "created_at": APRIL}
    GatewayPayment.objects.create(key=f"gateway/{number}", invoice=invoice, **gone)
    statement = BankStatement.objects.create(digest=f"{number:064d}", format="csv", name="march.csv", imported_at=APRIL)
    line = {"number": 1, "booked_on": date(2026, 4, 2), "amount_micros": CENT, "currency": "CNY"}
    BankLine.objects.create(statement=statement, reference=f"bank/{number}", state="matched", payment=payment, **line)
    DunningNotice.objects.create(invoice=invoice, level=1, action="reminder", owed_micros=CENT, noticed_at=APRIL)
    series, _ = Series.objects.get_or_create(issuer="GF", kind="credit_note", year=2026)
    note = CreditNote.objects.create(
        invoice=invoice, series=series, sequence=number, number=f"GF-C-2026-{number:06d}", key=f"test/{number}", net_micros=CENT,
        tax_micros=0, prepaid_micros=0, reason="goodwill", entry=make_entry(), issued_at=APRIL,
    )  # fmt: skip
    CreditNoteLine.objects.create(note=note, line=invoice.lines.get(), net_micros=CENT, tax_micros=0)
    return invoice


def make_charge(market: Market, micros: int, service_at: datetime, charged_at: datetime | None = None, **fields: Any) -> Charge:
    """A posted charge of a usage record that ended at a moment; `kind="fee"` for a task's fee."""
    kind = fields.pop("kind", "usage")
    task = make_task(market)
    Task.objects.filter(pk=task.pk).update(ended_at=service_at)
    usage = None
    if kind == "usage":
        attempt = make_attempt(market, task, make_need(), leased_at=service_at - timedelta(seconds=2), ended_at=service_at)
        usage = make_usage(market, task, attempt)
    organization = fields.pop("organization", market.alice)
    currency = fields.setdefault("currency", "CNY")
    entry = post(f"test/{next(_serial)}", kind, charged_at or service_at, currency, [
        ("user_receivable", organization.pk, micros), ("provider_payable", market.bob.pk, -micros),
    ])  # fmt: skip
    return Charge.objects.create(
        kind=kind, usage=usage, task=task, organization=organization, provider=market.bob, publisher=market.carol, payer="user",
        reason="valid/delivered", amount_micros=micros, provider_micros=micros, entry=entry,
        charged_at=charged_at or service_at + timedelta(minutes=1), **fields,
    )  # fmt: skip


def balance(kind: str, organization: Organization | None = None, currency: str = "CNY") -> int:
    """What an account was debited, less what it was credited."""
    rows = Leg.objects.filter(account__kind=kind, account__currency=currency)
    rows = rows if organization is None else rows.filter(account__organization=organization)
    return sum(leg.debit_micros - leg.credit_micros for leg in rows)


def a_queued_line() -> BankLine:
    """Money that nobody can tell what for."""
    number = next(_serial)
    statement = BankStatement.objects.create(digest=f"{number:064d}", format="csv", name="april.csv", imported_at=APRIL)
    told = {"number": 1, "reference": f"queued/{number}", "booked_on": date(2026, 4, 2), "amount_micros": CENT, "currency": "CNY"}
    return BankLine.objects.create(statement=statement, state="queued", why="no_invoice", **told)


def a_parked_month(organization: Organization, starts_at: datetime = APRIL) -> BillingPeriod:
    """A month that waits for an operator."""
    why = {"state": "parked", "parked_code": "total_negative", "parked_detail": "the total is below zero"}
    return make_period(organization, starts_at, starts_at + timedelta(days=30), **why)
