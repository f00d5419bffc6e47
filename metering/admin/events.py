"""Events of pools that meter themselves, and what was kept apart, in the operators' pages."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from core.admin import Page, Panel, badge, carry_out, exact, link, one_of, panel, to, when
from core.admin.cells import list_url
from core.admin.panels import SHOWN, table
from marketplace.models import User
from metering.events.deciding import accept_event, refuse_event
from metering.models import (
    QuarantinedEvent,
    UsageBatch,
    UsageCorrection,
    UsageDay,
    UsageDirty,
    UsageEvent,
    UsageHour,
    UsageSeries,
    UsageSubject,
)


@admin.register(UsageSeries)
class UsageSeriesPage(Page):
    columns = ("id", "provider", "source", "pool", "customer", "meter", "unit")
    joins = ("provider", "pool", "customer")
    list_filter = (exact("provider__slug", "provider"), exact("customer__slug", "customer"), exact("meter"))
    search_fields = ("=pk", "=source", "=meter")
    search_help_text = "a series' number, a source or a meter, whole"


@admin.register(UsageBatch)
class UsageBatchPage(Page):
    columns = ("id", "provider", "api_key", "received_at", "rows")
    joins = ("provider",)
    list_filter = (exact("provider__slug", "provider"),)
    search_fields = ("=pk",)
    huge = True


@admin.register(UsageEvent)
class UsageEventPage(Page):
    columns = ("key", "external_id", "series", "occurred_at", "quantity", "gauge", "value", "boot_id", "seq", "accepted_at",
               "batch")  # fmt: skip
    joins = ("series",)
    cards = (
        ("Event", ("external_id", "series", "occurred_at", "quantity", "gauge", "labels")),
        ("Counter", ("value", "boot_id", "seq")),
        ("How it came", ("batch", "accepted_at", "key", "digest")),
    )
    list_filter = (exact("series"), exact("batch"))
    search_fields = ("=pk",)
    search_help_text = "an event's key"
    huge = True


@admin.register(UsageCorrection)
class UsageCorrectionPage(Page):
    """What events should have said; the last one of an event counts."""

    columns = ("id", "name", "event", "revision", "quantity", "gauge", "reason", "accepted_at")
    search_fields = ("=pk", "=event_id")
    search_help_text = "a correction's number or an event's key"
    huge = True


@panel(UsageEvent)
def corrections(event: UsageEvent) -> Panel | None:
    lines = [
        (to(UsageCorrection, one.pk, one.name), one.revision, next(x for x in (one.quantity, one.gauge) if x is not None),
         when(one.accepted_at))
        for one in UsageCorrection.objects.filter(event=event.pk).order_by("-revision")[:SHOWN]
    ]  # fmt: skip
    return table("Corrections, the last first", ("correction", "#revision", "#amount", "at"), lines)


@admin.register(UsageHour)
class UsageHourPage(Page):
    columns = ("id", "customer", "meter", "unit", "hour", "quantity", "events", "gaps", "digest")
    joins = ("customer",)
    list_filter = (exact("customer__slug", "customer"), exact("meter"))
    search_fields = ("=pk", "=meter")
    huge = True


@admin.register(UsageDay)
class UsageDayPage(Page):
    columns = ("id", "subject", "stat", "day", "width", "known", "latest", "digest")
    joins = ("subject",)
    cards = (
        ("Day", ("subject", "stat", "day", "slots", "width", "known")),
        ("Ranked", ("top", "top_at")),
        ("Made of", ("digest", "latest")),
    )
    list_filter = (exact("subject"), exact("subject__customer__slug", "customer"), one_of("stat", ("sum", "avg", "max")))
    search_fields = ("=pk",)
    huge = True


@admin.register(UsageSubject)
class UsageSubjectPage(Page):
    columns = ("id", "customer", "pool", "meter", "unit", "zone")
    joins = ("customer", "pool")
    list_filter = (exact("customer__slug", "customer"), exact("pool__identifier"), exact("meter"))
    search_fields = ("=pk", "=meter")


@admin.register(UsageDirty)
class UsageDirtyPage(Page):
    """Hours whose rollups wait to be built anew."""

    columns = ("id", "customer", "pool", "meter", "unit", "hour", "due")
    search_fields = ("=pk", "=meter")


@admin.action(description="Accept", permissions=["operate"])
def accept(page: Page, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]) -> None:
    user = cast("User", request.user)
    carry_out(page, request, queryset, lambda kept: accept_event(kept.pk, user), "counted")


@admin.action(description="Refuse", permissions=["operate"])
def refuse(page: Page, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]) -> None:
    user = cast("User", request.user)
    carry_out(page, request, queryset, lambda kept: refuse_event(kept.pk, user), "left out")


@admin.register(QuarantinedEvent)
class QuarantinedEventPage(Page):
    columns = ("id", "provider", "reason", "state", "occurred_at", "received_at", "decided_by", "decided_at")
    joins = ("provider", "decided_by")
    list_filter = (
        one_of("state", ("open", "accepted", "refused")),
        one_of("reason", ("conflict", "too_old")),
        exact("provider__slug", "provider"),
    )
    search_fields = ("=pk", "=key")
    search_help_text = "a row's number or an event's key"
    actions = (accept, refuse)

    def fits(self, action: str, obj: Any) -> bool:
        return obj.state == "open" and (action == "refuse" or obj.reason == "too_old")


@panel(UsageSeries)
def newest_events(series: UsageSeries) -> Panel | None:
    rows = UsageEvent.objects.filter(series=series, value__isnull=False).order_by("-boot_id", "-seq")[:SHOWN]
    lines = [(to(UsageEvent, e.pk, e.external_id), when(e.occurred_at), e.value, e.boot_id, e.seq) for e in rows]
    return table("Counter's readings, newest first", ("event", "at", "#value", "boot", "#seq"), lines)


@panel(QuarantinedEvent)
def counted_instead(kept: QuarantinedEvent) -> Panel | None:
    event = UsageEvent.objects.filter(pk=kept.key).first()
    if event is None:
        return None
    line = (to(UsageEvent, event.pk, event.external_id), when(event.occurred_at), event.quantity or event.value, badge("stored"))
    more = link(list_url(UsageEvent, series=event.series_id), "its series")
    return Panel("The event that is counted", ("event", "at", "#amount", ""), [line], more=more)
