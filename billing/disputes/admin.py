"""Disputes in the operators' pages: their charges, what was said, and the decisions that need no amount."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.disputes.deciding import Decision, decide
from billing.disputes.states import LIVE
from billing.models import Charge, CreditNote, Dispute, DisputedCharge, DisputeMessage, PeriodCharge
from core.admin import Page, Panel, badge, carry_out, exact, link, money, one_of, panel, table, to, when
from core.admin.cells import list_url
from core.admin.panels import SHOWN
from marketplace.models import User


@admin.action(description="Uphold in full", permissions=["operate"])
def uphold(page: Page, request: HttpRequest, queryset: QuerySet[Dispute]) -> None:
    _decide(page, request, queryset, "upheld", "Decided by the platform: upheld in full.")


@admin.action(description="Reject", permissions=["operate"])
def reject(page: Page, request: HttpRequest, queryset: QuerySet[Dispute]) -> None:
    _decide(page, request, queryset, "rejected", "Decided by the platform: the charges stand.")


def _decide(page: Page, request: HttpRequest, queryset: QuerySet[Dispute], outcome: str, text: str) -> None:
    user = cast("User", request.user)
    carry_out(page, request, queryset, lambda one: decide([Decision(one.pk, outcome, text)], user), outcome)


@admin.register(Dispute)
class DisputePage(Page):
    columns = ("id", "organization", "respondent", "reason", "state", "position", "outcome", "disputed", "awarded", "opened_at", "answer_until")
    joins = ("organization", "respondent")
    cards = (
        ("Dispute", ("reason", "state", "position", "outcome", "disputed", "awarded", "charges_count")),
        ("Parties", ("organization", "provider", "publisher", "respondent")),
        ("Times", ("opened_at", "opened_by", "answer_until", "answered_at", "ended_at", "decided_by")),
    )
    list_filter = (
        one_of("state", Dispute.State.values),
        one_of("outcome", Dispute.Outcome.values),
        exact("organization__slug", "customer"),
        exact("respondent__slug", "respondent"),
    )
    search_fields = ("=pk", "=organization__slug", "=respondent__slug")
    search_help_text = "a dispute's whole number, or a party's short name"
    actions = (uphold, reject)

    def fits(self, action: str, obj: Any) -> bool:
        return obj.state in LIVE

    @admin.display(description="disputed")
    def disputed(self, obj: Dispute) -> SafeString:
        return money(obj.disputed_micros, obj.currency)

    @admin.display(description="awarded")
    def awarded(self, obj: Dispute) -> SafeString:
        return money(obj.awarded_micros, obj.currency)


@admin.register(DisputedCharge)
class DisputedChargePage(Page):
    columns = ("id", "dispute", "charge", "period_charge", "state", "micros", "awarded_micros", "refund", "note")
    chain = ("dispute",)
    list_filter = (exact("dispute"), one_of("state", DisputedCharge.State.values))
    search_fields = ("=pk", "=dispute", "=charge", "=period_charge")
    huge = True


@admin.register(DisputeMessage)
class DisputeMessagePage(Page):
    columns = ("id", "dispute", "role", "author", "text", "at")
    chain = ("dispute",)
    list_filter = (exact("dispute"), one_of("role", DisputeMessage.Role.values))
    search_fields = ("=pk", "=dispute")
    huge = True


@panel(Dispute)
def said(dispute: Dispute) -> Panel | None:
    rows = dispute.messages.order_by("pk")[:SHOWN]
    return table("What was said", ("at", "who", "said"), [(when(one.at), one.role, one.text) for one in rows])


@panel(Dispute)
def charges_of_dispute(dispute: Dispute) -> Panel | None:
    rows = dispute.items.select_related("note").order_by("pk")[:SHOWN]
    lines = [
        (
            to(Charge, one.charge_id) if one.charge_id else to(PeriodCharge, one.period_charge_id),
            badge(one.state),
            money(one.micros, dispute.currency),
            money(one.awarded_micros, dispute.currency),
            to(PeriodCharge, one.period_refund_id) if one.period_refund_id else to(Charge, one.refund_id),
            to(CreditNote, one.note_id, one.note),
        )
        for one in rows
    ]
    more = link(list_url(DisputedCharge, dispute=dispute.pk), "all charges")
    return Panel("Charges", ("charge", "state", "#amount", "#taken back", "refund", "credit note"), lines, more=more)


@panel(Charge)
def disputes_of_charge(charge: Charge) -> Panel | None:
    return _disputes(DisputedCharge.objects.filter(charge=charge.pk), charge.currency)


@panel(PeriodCharge)
def disputes_of_month(charge: PeriodCharge) -> Panel | None:
    return _disputes(DisputedCharge.objects.filter(period_charge=charge.pk), charge.currency)


def _disputes(items: QuerySet[DisputedCharge], currency: str) -> Panel | None:
    rows = items.exclude(state="withdrawn")  # what the index holds
    lines = [(to(Dispute, one.dispute_id), badge(one.state), money(one.awarded_micros, currency)) for one in rows]
    return table("Dispute", ("dispute", "state", "#taken back"), lines)
