"""Credit in the operators' pages: what may be spent, what is held, who is blocked, budgets, pauses, alarms."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin import Page, Panel, badge, carry_out_all, exact, money, one_of, panel, table, to
from marketplace.models import Allowance, Budget, BudgetAlert, CreditAlarm, Hold, Organization, SpendBlock, Task, TaskPause
from marketplace.services.operators import lift_blocks


@admin.register(Allowance)
class AllowancePage(Page):
    columns = ("organization", "currency", "available", "limit_micros", "prepaid_micros", "unpaid_micros", "held_micros")
    list_filter = ("currency", exact("organization__slug"))
    search_fields = ("organization__slug",)

    def name_of(self, obj: Any) -> str:
        return f"what {obj.organization} may spend in {obj.currency}"

    @admin.display(description="available")
    def available(self, obj: Allowance) -> SafeString:
        return money(obj.available_micros, obj.currency)


@admin.register(Hold)
class HoldPage(Page):
    columns = ("task", "organization", "state", "amount", "captured_micros", "by", "held_at", "resolved_at")
    chain = ("task",)
    list_filter = (one_of("state", Hold.State.values), exact("organization__slug"))
    search_fields = ("=pk",)
    search_help_text = "a task's number"
    huge = True

    def name_of(self, obj: Any) -> str:
        return f"hold for task {obj.pk}"

    @admin.display(description="amount")
    def amount(self, obj: Hold) -> SafeString:
        return money(obj.amount_micros, obj.currency)


@admin.register(SpendBlock)
class SpendBlockPage(Page):
    columns = ("organization", "reason", "detail", "blocked_at", "lifted_at")
    list_filter = (("lifted_at", admin.EmptyFieldListFilter), exact("organization__slug"))
    search_fields = ("organization__slug", "reason")
    actions = ("lift",)

    @admin.action(description="Lift", permissions=["operate"])
    def lift(self, request: HttpRequest, queryset: QuerySet[SpendBlock]) -> None:
        carry_out_all(self, request, queryset, lift_blocks, "lifted")

    def fits(self, action: str, obj: SpendBlock) -> bool:
        return obj.lifted_at is None


@admin.register(TaskPause)
class TaskPausePage(Page):
    columns = ("task", "source", "detail", "paused_at")
    chain = ("task",)
    search_fields = ("=task", "=source")

    def name_of(self, obj: Any) -> str:
        return f"pause of task {obj.task_id} by {obj.source}"


@admin.register(Budget)
class BudgetPage(Page):
    columns = ("name", "organization", "scope", "amount", "spent_micros", "held_micros", "period", "period_start", "closed_at")
    list_filter = (one_of("scope", Budget.Scope.values), exact("organization__slug"))
    search_fields = ("name", "organization__slug", "=pk")

    @admin.display(description="amount")
    def amount(self, obj: Budget) -> SafeString:
        return money(obj.amount_micros, obj.currency)


@admin.register(BudgetAlert)
class BudgetAlertPage(Page):
    columns = ("budget", "percent", "action", "spent_micros", "held_micros", "amount_micros", "period_start", "raised_at")
    list_filter = (one_of("action", ("notify", "block", "pause", "stop")), exact("budget"))
    search_fields = ("=budget",)

    def name_of(self, obj: Any) -> str:
        return f"{obj.percent} % of {obj.budget}"


@admin.register(CreditAlarm)
class CreditAlarmPage(Page):
    columns = ("what", "organization", "stands", "counted", "raised_at")
    list_filter = (exact("organization__slug"),)
    search_fields = ("what", "organization__slug")


@panel(Organization)
def credit(organization: Organization) -> Panel | None:
    lines = (
        (to(Allowance, a.pk, a.currency), *(money(int(micros), a.currency) for micros in _sums(a)))
        for a in Allowance.objects.filter(organization=organization).order_by("currency")
    )
    return table("Credit", ("currency", "#available", "#limit", "#prepaid", "#unpaid", "#held"), lines)


def _sums(one: Allowance) -> tuple[Any, ...]:
    return one.available_micros, one.limit_micros, one.prepaid_micros, one.unpaid_micros, one.held_micros


@panel(Task)
def hold_of_task(task: Task) -> Panel | None:
    lines = (
        (to(Hold, h.pk, badge(h.state)), money(h.amount_micros, h.currency), money(h.captured_micros, h.currency), h.by)
        for h in Hold.objects.filter(task=task)
    )
    return table("Hold", ("state", "#amount", "#captured", "by"), lines)
