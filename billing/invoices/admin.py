"""Invoices, what they are made of, and what was paid, in the operators' pages."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.credit.reversing import reverse_payment
from billing.invoices.freeing import free_months
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
    InvoicedCharge,
    InvoicedPeriod,
    InvoiceLine,
    InvoiceTax,
    Payment,
    PaymentAllocation,
    PaymentReversal,
    ReversedAllocation,
    Series,
)
from core.admin import Page, Panel, ServicePage, badge, exact, money, one_of, panel, table, to


@admin.register(BillingPeriod)
class BillingPeriodPage(Page):
    columns = ("id", "organization", "currency", "starts_at", "ends_at", "zone", "state", "parked_code")
    cards = (
        ("Month", ("organization", "currency", "starts_at", "ends_at", "zone", "state", "cutoff")),
        ("Parked", ("parked_code", "parked_detail")),
    )
    list_filter = (one_of("state", BillingPeriod.State.values), exact("organization__slug", "organization"))
    search_fields = ("=pk", "=organization__slug")
    huge = True


@admin.register(FreedPeriod)
class FreedPeriodPage(ServicePage):
    """Months that were let go on after mending. A new one needs a month that is parked, and a reason."""

    columns = ("id", "period", "number", "parked_code", "reason", "freed_by", "freed_at")
    joins = ("period", "freed_by")
    chain = ("period",)
    search_fields = ("=pk", "=period")
    fields = ("period", "reason")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "period":
            kwargs["queryset"] = BillingPeriod.objects.filter(state=BillingPeriod.State.PARKED).select_related("organization")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def make(self, given: dict[str, Any], user: Any) -> FreedPeriod:
        (made,) = free_months([given["period"].pk], given["reason"], user)
        return made


@admin.register(Invoice)
class InvoicePage(Page):
    columns = ("id", "number", "organization", "state", "net", "tax", "total", "open", "finalized_at", "due_at")
    cards = (
        ("Invoice", ("number", "organization", "period", "state", "reason", "replaces", "entry")),
        ("Amounts", ("net", "tax", "total", "paid", "credited", "open")),
        (
            "Rounding",
            ("exact_micros", "carried_in_micros", "carried_out_micros", "dropped_micros", "minor_micros", "carries_remainder"),
        ),
        ("Times", ("cutoff", "grace_until", "finalized_at", "due_at", "ended_at")),
    )
    list_filter = (one_of("state", Invoice.State.values), exact("organization__slug", "organization"), exact("currency"))
    search_fields = ("=pk", "=number", "=organization__slug")
    search_help_text = "an invoice's whole number, or an organization's short name"
    huge = True

    @admin.display(description="net")
    def net(self, obj: Invoice) -> SafeString:
        return money(obj.net_micros, obj.currency)

    @admin.display(description="tax")
    def tax(self, obj: Invoice) -> SafeString:
        return money(obj.tax_micros, obj.currency)

    @admin.display(description="total")
    def total(self, obj: Invoice) -> SafeString:
        return money(obj.total_micros, obj.currency)

    @admin.display(description="paid")
    def paid(self, obj: Invoice) -> SafeString:
        return money(obj.paid_micros, obj.currency)

    @admin.display(description="credited")
    def credited(self, obj: Invoice) -> SafeString:
        return money(obj.credited_micros, obj.currency)

    @admin.display(description="not paid")
    def open(self, obj: Invoice) -> SafeString:
        return money(obj.total_micros - obj.paid_micros - obj.credited_micros, obj.currency)


@admin.register(InvoiceLine)
class InvoiceLinePage(Page):
    columns = (
        "id",
        "invoice",
        "number",
        "kind",
        "service_from",
        "capability",
        "pool",
        "basis",
        "charges",
        "amount_micros",
        "tax_micros",
    )
    chain = ("invoice",)
    list_filter = (exact("invoice"), one_of("kind", InvoiceLine.Kind.values))
    search_fields = ("=pk", "=invoice", "=invoice__number")
    huge = True


@admin.register(InvoicedCharge)
class InvoicedChargePage(Page):
    columns = ("charge", "line")
    chain = ("line__invoice", "line")
    list_filter = (exact("line"),)
    search_fields = ("=pk", "=line")
    huge = True


@admin.register(InvoicedPeriod)
class InvoicedPeriodPage(Page):
    columns = ("charge", "line")
    chain = ("line__invoice", "line")
    list_filter = (exact("line"),)
    search_fields = ("=pk", "=line")
    huge = True


@admin.register(InvoiceTax)
class InvoiceTaxPage(Page):
    columns = ("id", "invoice", "rate", "percent", "base_micros", "amount_micros")
    chain = ("invoice",)
    list_filter = (exact("invoice"),)
    search_fields = ("=pk", "=invoice")
    huge = True


@admin.register(CreditNote)
class CreditNotePage(Page):
    columns = ("id", "number", "invoice", "net_micros", "tax_micros", "prepaid_micros", "reason", "issued_at")
    chain = ("invoice",)
    list_filter = (exact("invoice"),)
    search_fields = ("=pk", "=number", "=invoice__number")
    huge = True


@admin.register(CreditNoteLine)
class CreditNoteLinePage(Page):
    columns = ("id", "note", "line", "net_micros", "tax_micros")
    chain = ("note__invoice", "note")
    list_filter = (exact("note"),)
    search_fields = ("=pk", "=note")
    huge = True


@admin.register(Payment)
class PaymentPage(Page):
    columns = ("id", "key", "organization", "method", "amount", "prepaid_micros", "received_on", "recorded_by", "recorded_at")
    list_filter = (one_of("method", Payment.Method.values), exact("organization__slug", "organization"))
    search_fields = ("=pk", "=key", "=organization__slug")
    huge = True

    @admin.display(description="amount")
    def amount(self, obj: Payment) -> SafeString:
        return money(obj.amount_micros, obj.currency)


@admin.register(PaymentAllocation)
class PaymentAllocationPage(Page):
    columns = ("id", "payment", "invoice", "amount_micros")
    chain = ("invoice", "payment")
    list_filter = (exact("payment"), exact("invoice"))
    search_fields = ("=pk", "=payment", "=invoice")
    huge = True


@admin.register(PaymentReversal)
class PaymentReversalPage(ServicePage):
    """Payments that were taken back. A new one needs a payment's number, and a reason; what is taken back of it, in micro-units,
    only where that is not all."""

    columns = ("id", "payment", "amount_micros", "reason", "with_payment", "reversed_by", "reversed_at", "entry")
    joins = ("payment", "with_payment", "reversed_by")
    chain = ("payment",)
    search_fields = ("=pk", "=payment", "=payment__key")
    fields = ("payment", "reason", "amount_micros")
    raw_id_fields = ("payment",)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "amount_micros" and field is not None:
            field.required = False
        return field

    def make(self, given: dict[str, Any], user: Any) -> PaymentReversal:
        return reverse_payment(given["payment"], given["reason"], user, micros=given["amount_micros"])


@admin.register(ReversedAllocation)
class ReversedAllocationPage(Page):
    columns = ("id", "reversal", "allocation", "amount_micros")
    chain = ("reversal",)
    list_filter = (exact("reversal"),)
    search_fields = ("=pk", "=reversal")
    huge = True


@admin.register(BankStatement)
class BankStatementPage(Page):
    columns = ("id", "name", "format", "account", "imported_by", "imported_at")
    search_fields = ("=pk", "=name")


@admin.register(BankLine)
class BankLinePage(Page):
    """What a bank said came in; those that are queued wait for a person (`gridfare invoice bank-line`)."""

    columns = ("id", "reference", "booked_on", "amount", "payer", "remittance", "state", "why", "payment")
    list_filter = (one_of("state", BankLine.State.values), exact("statement"))
    search_fields = ("=pk", "=reference")
    huge = True

    @admin.display(description="amount")
    def amount(self, obj: BankLine) -> SafeString:
        return money(obj.amount_micros, obj.currency)


@admin.register(GatewayPayment)
class GatewayPaymentPage(Page):
    columns = ("id", "gateway", "key", "invoice", "amount_micros", "state", "payment", "created_at")
    chain = ("invoice",)
    list_filter = (one_of("state", GatewayPayment.State.values),)
    search_fields = ("=pk", "=key", "=invoice")
    huge = True


@admin.register(DunningNotice)
class DunningNoticePage(Page):
    columns = ("id", "invoice", "level", "action", "owed_micros", "noticed_at")
    chain = ("invoice",)
    list_filter = (exact("invoice"),)
    search_fields = ("=pk", "=invoice", "=invoice__number")
    huge = True


@admin.register(Series)
class SeriesPage(Page):
    columns = ("id", "issuer", "kind", "year", "last")


@panel(Invoice)
def lines_of_invoice(invoice: Invoice) -> Panel | None:
    lines = [
        (
            to(InvoiceLine, one.pk, one.number),
            badge(one.kind),
            f"{one.service_from:%Y-%m-%d}",
            one.charges,
            money(one.amount_micros),
            money(one.tax_micros),
        )
        for one in InvoiceLine.objects.filter(invoice=invoice).order_by("number")[:200]
    ]
    return table("Lines", ("line", "kind", "service from", "#charges", "#amount", "#tax"), lines)


@panel(Invoice)
def payments_of_invoice(invoice: Invoice) -> Panel | None:
    lines = [
        (to(Payment, one.payment_id), one.payment.method, f"{one.payment.received_on}", money(one.amount_micros))
        for one in PaymentAllocation.objects.filter(invoice=invoice).select_related("payment").order_by("pk")[:200]
    ]
    return table("Payments", ("payment", "method", "received", "#amount"), lines)


@panel(Payment)
def reversal_of_payment(payment: Payment) -> Panel | None:
    rows = PaymentReversal.objects.filter(payment=payment).select_related("reversed_by")
    lines = [
        (to(PaymentReversal, one.pk), one.reason, str(one.reversed_by or ""), f"{one.reversed_at:%Y-%m-%d %H:%M}") for one in rows
    ]
    return table("Reversed", ("reversal", "why", "by", "when"), lines)


@panel(Charge)
def invoice_of_charge(charge: Charge) -> Panel | None:
    rows = InvoicedCharge.objects.filter(charge=charge).select_related("line__invoice")
    lines = [
        (to(Invoice, one.line.invoice_id, str(one.line.invoice)), to(InvoiceLine, one.line_id, one.line.number)) for one in rows
    ]
    return table("Invoiced 账单", ("invoice", "line"), lines)
