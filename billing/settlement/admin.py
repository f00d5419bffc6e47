"""Payouts in the operators' pages."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.models import (
    Payout,
    PayoutAttempt,
    PayoutLine,
    PayoutRun,
    ReserveRelease,
    ReserveTerms,
    SandboxTransfer,
    Withholding,
)
from billing.settlement.reserves import Terms, agree_terms
from core.admin import Page, ServicePage, exact, money, one_of


@admin.register(PayoutRun)
class PayoutRunPage(Page):
    columns = ("id", "as_of", "hold_days", "made_at", "made_by")
    search_fields = ("=pk",)
    huge = True


@admin.register(Payout)
class PayoutPage(Page):
    columns = (
        "id",
        "run",
        "organization",
        "state",
        "amount",
        "lines_count",
        "attempts_count",
        "approved_at",
        "sent_at",
        "ended_at",
    )
    cards = (
        ("Payout", ("run", "organization", "state", "reason", "entry")),
        ("Amounts", ("amount", "exact_micros", "minor_micros", "lines_count", "attempts_count")),
        ("Times", ("approved_at", "approved_by", "sent_at", "ended_at")),
    )
    chain = ("run",)
    list_filter = (one_of("state", Payout.State.values), exact("organization__slug", "payee"), exact("run"))
    search_fields = ("=pk", "=organization__slug")
    search_help_text = "a payout's whole number, or a payee's short name"
    huge = True

    @admin.display(description="amount")
    def amount(self, obj: Payout) -> SafeString:
        return money(obj.amount_micros, obj.currency)


@admin.register(PayoutLine)
class PayoutLinePage(Page):
    columns = ("share", "charge", "period_charge", "withholding", "release", "role", "payout", "amount_micros")
    chain = ("payout__run", "payout")
    list_filter = (exact("payout"),)
    search_fields = ("=share", "=charge", "=period_charge", "=payout")
    huge = True


@admin.register(PayoutAttempt)
class PayoutAttemptPage(Page):
    columns = ("id", "payout", "number", "key", "state", "reference", "reason", "begun_at", "ended_at")
    chain = ("payout__run", "payout")
    list_filter = (one_of("state", PayoutAttempt.State.values), exact("payout"))
    search_fields = ("=pk", "=key", "=payout")
    huge = True


@admin.register(ReserveTerms)
class ReserveTermsPage(ServicePage):
    """What is kept back of payees' payouts. New terms hold from now on, or from a later moment."""

    columns = ("id", "organization", "basis_points", "days", "starts_at", "note", "agreed_by", "agreed_at")
    joins = ("organization", "agreed_by")
    list_filter = (exact("organization__slug", "payee"),)
    search_fields = ("=pk", "=organization__slug")
    fields = ("organization", "basis_points", "days", "starts_at", "note")
    raw_id_fields = ("organization",)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "starts_at" and field is not None:
            field.required = False
        return field

    def make(self, given: dict[str, Any], user: Any) -> ReserveTerms:
        terms = Terms(given["basis_points"], given["days"], given["starts_at"], given["note"])
        return agree_terms(given["organization"], terms, user)


@admin.register(Withholding)
class WithholdingPage(Page):
    columns = ("id", "payout", "organization", "amount", "basis_points", "withheld_at", "release_at")
    chain = ("payout__run", "payout")
    list_filter = (exact("organization__slug", "payee"), exact("payout"))
    search_fields = ("=pk", "=payout", "=organization__slug")
    huge = True

    @admin.display(description="amount")
    def amount(self, obj: Withholding) -> SafeString:
        return money(obj.amount_micros, obj.currency)


@admin.register(ReserveRelease)
class ReserveReleasePage(Page):
    columns = ("id", "withholding", "kind", "amount_micros", "released_at", "entry")
    chain = ("withholding",)
    list_filter = (one_of("kind", ReserveRelease.Kind.values), exact("withholding"))
    search_fields = ("=pk", "=withholding")
    huge = True


@admin.register(SandboxTransfer)
class SandboxTransferPage(Page):
    columns = ("id", "key", "payee", "amount", "succeeded", "at")
    search_fields = ("=pk", "=key")
    huge = True

    @admin.display(description="amount")
    def amount(self, obj: SandboxTransfer) -> SafeString:
        return money(obj.amount_micros, obj.currency)
