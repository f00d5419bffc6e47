"""Payouts in the operators' pages."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from billing.models import Payout, PayoutAttempt, PayoutLine, PayoutRun, SandboxTransfer
from core.admin import Page, exact, money, one_of


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
    columns = ("share", "charge", "period_charge", "role", "payout", "amount_micros")
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


@admin.register(SandboxTransfer)
class SandboxTransferPage(Page):
    columns = ("id", "key", "payee", "amount", "succeeded", "at")
    search_fields = ("=pk", "=key")
    huge = True

    @admin.display(description="amount")
    def amount(self, obj: SandboxTransfer) -> SafeString:
        return money(obj.amount_micros, obj.currency)
