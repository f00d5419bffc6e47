"""Charges by period in the operators' pages, what is parked, and the two decisions about it."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.models import BudgetedPeriod, ParkedPeriod, PeriodCharge, PeriodPreview, PeriodSubject, RatedMonth, Subscription
from billing.periods import deciding
from core.admin import Page, Panel, carry_out, exact, money, one_of, panel, table, to
from marketplace.models import User


@admin.register(Subscription)
class SubscriptionPage(Page):
    """Customers who pay by a pool's own meters."""

    columns = ("id", "organization", "pool", "valid", "begun_by", "ended_by")
    joins = ("organization", "pool", "begun_by", "ended_by")
    list_filter = (exact("organization__slug", "organization"), exact("pool__identifier", "pool"))
    search_fields = ("=pk",)

    def name_of(self, obj: Any) -> str:
        return f"{obj.organization} at {obj.pool}"


@admin.register(PeriodSubject)
class PeriodSubjectPage(Page):
    columns = ("id", "organization", "offer", "version", "meter", "payer")
    joins = ("organization", "offer", "version__capability__organization")
    list_filter = (exact("organization__slug", "organization"), exact("offer"), exact("version"))
    search_fields = ("=pk",)

    def name_of(self, obj: Any) -> str:
        return f"{obj.meter} of {obj.organization}"


@admin.register(PeriodCharge)
class PeriodChargePage(Page):
    columns = ("id", "organization", "provider", "publisher", "meter", "payer", "period", "revision", "billed", "amount", "rated_at")
    joins = ("organization", "provider", "publisher")
    cards = (
        ("Charge", ("subject", "meter", "payer", "period", "zone", "revision", "base", "raw", "billed")),
        ("Money", ("precise", "total", "amount", "provider_micros", "publisher_micros", "platform_micros", "basis_points", "entry")),
        ("Parties", ("organization", "provider", "publisher", "offer", "version", "contract")),
        ("Proof", ("cutoff", "digest", "algorithm", "evidence", "rated_at")),
    )
    list_filter = (
        exact("organization__slug", "organization"),
        exact("provider__slug", "provider"),
        exact("publisher__slug", "publisher"),
        one_of("payer", ("user", "platform")),
        exact("subject"),
    )
    search_fields = ("=pk", "=subject")
    search_help_text = "a charge's or a subject's number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"period charge {obj.pk}"

    @admin.display(description="amount")
    def amount(self, obj: PeriodCharge) -> SafeString:
        return money(obj.amount_micros, obj.currency)

    @admin.display(description="of all revisions")
    def total(self, obj: PeriodCharge) -> SafeString:
        return money(obj.total_micros, obj.currency)


@admin.register(BudgetedPeriod)
class BudgetedPeriodPage(Page):
    """How much of charges by period budgets count."""

    columns = ("id", "budget", "charge", "micros")
    joins = ("budget",)
    list_filter = (exact("budget"), exact("charge"))
    search_fields = ("=pk", "=charge_id")
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"part of period charge {obj.charge_id}"


@admin.register(PeriodPreview)
class PeriodPreviewPage(Page):
    """What open months would come to; written anew every night."""

    columns = ("id", "organization", "offer", "version", "meter", "payer", "period", "billed", "total_micros", "cutoff")
    joins = ("organization", "offer", "version__capability__organization")
    list_filter = (exact("organization__slug", "organization"),)
    search_fields = ("=pk",)

    def name_of(self, obj: Any) -> str:
        return f"preview {obj.pk}"


@admin.register(RatedMonth)
class RatedMonthPage(Page):
    """Up to when usage of months that are over was rated."""

    columns = ("organization", "month", "cutoff")
    joins = ("organization",)
    list_filter = (exact("organization__slug", "organization"), "month")
    search_fields = ("organization__slug",)

    def name_of(self, obj: Any) -> str:
        return f"{obj.month:%Y-%m} of {obj.organization}"


@admin.action(description="Approve", permissions=["operate"])
def approve(page: Page, request: HttpRequest, queryset: QuerySet[ParkedPeriod]) -> None:
    user = cast("User", request.user)
    carry_out(page, request, queryset, lambda parked: deciding.approve([parked.pk], user), "posted")


@admin.action(description="Refuse", permissions=["operate"])
def refuse(page: Page, request: HttpRequest, queryset: QuerySet[ParkedPeriod]) -> None:
    user = cast("User", request.user)
    carry_out(page, request, queryset, lambda parked: deciding.refuse([parked.pk], user), "left out")


@admin.register(ParkedPeriod)
class ParkedPeriodPage(Page):
    columns = (
        "id",
        "organization",
        "subject",
        "period",
        "reason",
        "total_micros",
        "before_micros",
        "state",
        "parked_at",
        "decided_by",
    )
    joins = ("organization", "subject", "decided_by")
    list_filter = (
        one_of("state", ("open", "approved", "refused")),
        one_of("reason", ("bound", "negative", "unknown", "late")),
        exact("organization__slug", "organization"),
    )
    search_fields = ("=pk", "=subject")
    actions = (approve, refuse)

    def name_of(self, obj: Any) -> str:
        return f"parked {obj.pk}"

    def fits(self, action: str, obj: Any) -> bool:
        return bool(obj.state == "open")


@panel(PeriodCharge)
def lines_of_period(charge: PeriodCharge) -> Panel | None:
    lines = ((line["kind"], line["quantity"], line["unit_price"], line["amount"]) for line in charge.lines)
    return table("Lines of the whole month", ("kind", "#quantity", "#unit price", "#amount"), lines)


@panel(PeriodCharge)
def revisions(charge: PeriodCharge) -> Panel | None:
    found = PeriodCharge.objects.filter(subject=charge.subject_id, period=charge.period).order_by("revision")
    lines = [
        (to(PeriodCharge, one.pk), one.revision, money(one.amount_micros, one.currency), money(one.total_micros)) for one in found
    ]
    return table("Base and revisions", ("charge", "#revision", "#adds", "#total"), lines)
