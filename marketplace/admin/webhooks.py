"""Webhooks in the operators' pages: endpoints to turn off and on, deliveries to send again, the log of what was sent."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin import Page, Panel, badge, carry_out_all, exact, one_of, panel, to, when
from core.admin.panels import SHOWN, table
from marketplace.models import WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookSecret, WebhookTry
from marketplace.webhooks.endpoints import disable, enable
from marketplace.webhooks.replaying import replay_deliveries


@admin.register(WebhookEndpoint)
class WebhookEndpointPage(Page):
    columns = ("url", "organization", "standing", "types", "failing_since", "delivered_at", "created_at")
    list_filter = (("disabled_at", admin.EmptyFieldListFilter), ("failing_since", admin.EmptyFieldListFilter), exact("organization__slug"))
    search_fields = ("=pk", "url", "organization__slug")
    actions = ("turn_off", "turn_on")

    @admin.display(description="state")
    def standing(self, obj: WebhookEndpoint) -> SafeString:
        return badge("disabled" if obj.disabled_at else "failing" if obj.failing_since else "active")

    def fits(self, action: str, obj: WebhookEndpoint) -> bool:
        return (action == "turn_on") == (obj.disabled_at is not None)

    @admin.action(description="Turn off", permissions=["operate"])
    def turn_off(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        carry_out_all(self, request, queryset, disable, "turned off")

    @admin.action(description="Turn on and send what has waited", permissions=["operate"])
    def turn_on(self, request: HttpRequest, queryset: QuerySet[WebhookEndpoint]) -> None:
        carry_out_all(self, request, queryset, enable, "turned on")


@admin.register(WebhookSecret)
class WebhookSecretPage(Page):
    columns = ("id", "endpoint", "created_at", "expires_at")
    hidden = ("sealed",)
    list_filter = (exact("endpoint"),)
    search_fields = ("=pk",)

    def name_of(self, obj: Any) -> str:
        return f"secret {obj.pk}"


@admin.register(WebhookEvent)
class WebhookEventPage(Page):
    columns = ("number", "type", "subject", "organization", "occurred_at")
    heavy = ("data",)
    list_filter = (exact("organization__slug"), exact("subject"))
    search_fields = ("=pk", "=id", "=subject")
    search_help_text = "an event's number or id, or a subject such as task/<id>"
    huge = True


@admin.register(WebhookDelivery)
class WebhookDeliveryPage(Page):
    columns = ("id", "event", "endpoint", "state", "tries", "status", "error", "due_at", "ended_at")
    list_filter = (one_of("state", WebhookDelivery.State.values), exact("endpoint"), exact("subject"))
    search_fields = ("=pk", "=event", "=subject")
    search_help_text = "a delivery's or an event's number, or a subject"
    actions = ("replay",)
    huge = True

    @admin.action(description="Send again, now", permissions=["operate"])
    def replay(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        carry_out_all(self, request, queryset, replay_deliveries, "will be sent")

    def fits(self, action: str, obj: WebhookDelivery) -> bool:
        return obj.state != WebhookDelivery.State.SENDING


@admin.register(WebhookTry)
class WebhookTryPage(Page):
    columns = ("id", "delivery", "number", "at", "status", "error", "ms")
    list_filter = (exact("delivery"),)
    search_fields = ("=pk", "=delivery", "=request_id")
    search_help_text = "a try's or a delivery's number, or an x-request-id"
    huge = True


@panel(WebhookEndpoint)
def deliveries_of_endpoint(endpoint: WebhookEndpoint) -> Panel | None:
    rows = endpoint.deliveries.select_related("event").order_by("-pk")[:SHOWN]
    lines = ((to(WebhookDelivery, d.pk), d.event.type, d.subject, badge(d.state), d.tries, d.status, d.error) for d in rows)
    return table("Deliveries", ("delivery", "type", "subject", "state", "#tries", "status", "error"), lines)


@panel(WebhookDelivery)
def tries_of_delivery(delivery: WebhookDelivery) -> Panel | None:
    rows = delivery.log.order_by("-pk")[:SHOWN]
    lines = ((to(WebhookTry, t.pk, t.number), when(t.at), t.status, t.error, t.ms, t.answer[:80]) for t in rows)
    return table("Tries", ("try", "at", "status", "error", "#ms", "answer"), lines)


@panel(WebhookEvent)
def deliveries_of_event(event: WebhookEvent) -> Panel | None:
    rows = event.deliveries.select_related("endpoint").order_by("pk")[:SHOWN]
    lines = ((to(WebhookDelivery, d.pk), d.endpoint, badge(d.state), d.tries, when(d.ended_at)) for d in rows)
    return table("Deliveries", ("delivery", "endpoint", "state", "#tries", "ended"), lines)
