"""Service levels in the operators' pages: what is promised, how days kept it, what came back."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from billing.models import Charge, SLACredit, SLADay, SLAMeasurement, SLATerms
from billing.sla.terms import withdraw
from core.admin import Page, Panel, carry_out, exact, link, money, one_of, panel, table, to
from core.admin.cells import list_url
from core.admin.panels import SHOWN
from marketplace.models import User


@admin.action(description="Withdraw before they begin", permissions=["operate"])
def withdraw_terms(page: Page, request: HttpRequest, queryset: QuerySet[SLATerms]) -> None:
    user = cast("User", request.user)
    carry_out(page, request, queryset, lambda one: withdraw(one, user), "withdrawn")


@admin.register(SLATerms)
class SLATermsPage(Page):
    columns = ("id", "pool", "customer", "kind", "steps", "minimum", "valid", "withdrawn_at")
    actions = (withdraw_terms,)
    joins = ("pool", "customer")
    list_filter = (one_of("kind", SLATerms.Kind.values), exact("pool__identifier", "pool"))
    search_fields = ("=pk", "pool__identifier")

    def fits(self, action: str, obj: Any) -> bool:
        return obj.withdrawn_at is None and obj.valid.lower > timezone.now()


@admin.register(SLADay)
class SLADayPage(Page):
    columns = ("day", "measured_at")
    search_fields = ("=day",)


@admin.register(SLAMeasurement)
class SLAMeasurementPage(Page):
    columns = ("id", "day", "terms", "organization", "good", "total", "credit_basis_points", "covered", "given_back")
    joins = ("terms", "organization")
    list_filter = (exact("terms"), exact("organization__slug", "customer"))
    search_fields = ("=pk", "=organization__slug")

    @admin.display(description="covered")
    def covered(self, obj: SLAMeasurement) -> SafeString:
        return money(obj.covered_micros, obj.currency)

    @admin.display(description="given back")
    def given_back(self, obj: SLAMeasurement) -> SafeString:
        return money(obj.credit_micros, obj.currency)


@admin.register(SLACredit)
class SLACreditPage(Page):
    columns = ("id", "measurement", "task", "charge")
    chain = ("measurement",)
    list_filter = (exact("measurement"),)
    search_fields = ("=pk", "=measurement")
    huge = True


@panel(SLAMeasurement)
def credits_of_measurement(measurement: SLAMeasurement) -> Panel | None:
    rows = measurement.credits.select_related("charge").order_by("pk")[:SHOWN]
    lines = [(to(Charge, one.charge_id), str(one.task_id), money(-one.charge.amount_micros, measurement.currency)) for one in rows]
    more = link(list_url(SLACredit, measurement=measurement.pk), "all credits")
    return Panel("Given back", ("charge", "task", "#amount"), lines, more=more) if lines else None


@panel(Charge)
def promise_of_charge(charge: Charge) -> Panel | None:
    rows = SLACredit.objects.filter(charge=charge.pk).select_related("measurement")
    lines = [(to(SLAMeasurement, one.measurement_id), f"{one.measurement.day}", f"{one.measurement}") for one in rows]
    return table("Service level", ("measurement", "day", "kept"), lines)
