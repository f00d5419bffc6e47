"""What organizations want to be told, where, and what became of telling them."""

from __future__ import annotations

from typing import ClassVar, Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from core.ids import uuid7


class WebhookEndpoint(models.Model):
    """An address of an organization's that events are sent to.

    `types` are exact (`task.delivered`), a family (`task.*`) or everything (`*`). A disabled endpoint is sent nothing;
    what happens meanwhile waits for it, in order, until it is enabled again or the events are forgotten.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("Organization", models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    types = ArrayField(models.CharField(max_length=64))
    description = models.CharField(max_length=200, default="", blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_because = models.CharField(max_length=200, default="", blank=True, help_text="the notice; empty: its owner's wish")
    failing_since = models.DateTimeField(null=True, blank=True, help_text="first failure since the last success")
    troubled = models.BooleanField(default=False, help_text="its last answer was bad or slow: it is asked one thing at a time")
    delivered_at = models.DateTimeField(null=True, blank=True, help_text="when something last reached it")
    created_by = models.ForeignKey("User", models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(types=[]), name="webhook_wants_something"),
            models.CheckConstraint(
                condition=Q(disabled_because="") | Q(disabled_at__isnull=False), name="webhook_notice_iff_disabled"
            ),
        ]

    def __str__(self) -> str:
        return self.url


class WebhookSecret(models.Model):
    """What an endpoint's requests are signed with: one that stays, and rotated ones until they expire."""

    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="secrets")
    sealed = models.CharField(max_length=300, help_text="encrypted; see webhooks/signing.py")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["endpoint"], condition=Q(expires_at__isnull=True), name="webhook_one_secret_stays")
        ]


class WebhookEvent(models.Model):
    """The outbox: something happened to an organization's subject, written in the transaction of the fact itself.

    Never changed. `key` names the fact, so that telling it twice writes it once. Kept only where an endpoint wants it,
    and forgotten after GRIDFARE_WEBHOOK_DAYS. `number` is the order of a subject's events, `id` the one that others see.
    """

    number = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=uuid7, editable=False)
    organization = models.ForeignKey("Organization", models.CASCADE, related_name="webhook_events", db_index=False)
    type = models.CharField(max_length=64)
    subject = models.CharField(max_length=120, help_text="what it happened to, `task/<id>`: the key of the order")
    data = models.JSONField()
    occurred_at = models.DateTimeField()
    key = models.CharField(max_length=200)
    written_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["organization", "key"], name="webhook_event_once")]
        indexes: ClassVar = [
            models.Index(fields=["written_at"], name="webhook_event_age"),
            models.Index(fields=["organization", "subject"], name="webhook_event_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.type} of {self.subject}"


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint.

                  ┌────────── it failed: again, later ──────────┐
                  ▼                                             │
        ┌──► PENDING ────────────────► SENDING ─────────────────┤
        │                              ▲  │  └──► DELIVERED  2xx came back
        │          its sender died ────┘  └─────► GIVEN_UP   it failed for a day, or 410 Gone came back
        │                                             │
        └────────────────── replayed ────────── DELIVERED, GIVEN_UP

    The arrows are MOVES, taken by guarded UPDATEs only. `due_at` is when somebody is to look again: the next try of one
    that is PENDING, the end of the claim of one that is SENDING. Order is per endpoint and subject: none is sent while
    of an earlier event and the same two is neither DELIVERED nor GIVEN_UP; other subjects do not wait for it.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        SENDING = "sending"
        DELIVERED = "delivered"
        GIVEN_UP = "given_up"

    MOVES: Final = {
        "pending": {"sending"},
        "sending": {"delivered", "pending", "given_up"},
        "delivered": {"pending"},
        "given_up": {"pending"},
    }

    event = models.ForeignKey(WebhookEvent, models.CASCADE, related_name="deliveries", db_index=False)
    endpoint = models.ForeignKey(WebhookEndpoint, models.CASCADE, related_name="deliveries", db_index=False)
    subject = models.CharField(max_length=120, help_text="the event's")
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    tries = models.PositiveIntegerField(default=0, help_text="claims so far; the fence of the one that runs")
    tries_before = models.PositiveIntegerField(default=0, help_text="tries before it was last replayed")
    first_tried_at = models.DateTimeField(null=True, blank=True, help_text="since it was made, or replayed")
    due_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="of the last answer")
    error = models.CharField(max_length=40, default="", blank=True, help_text="why the last try had no answer, a code")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="webhook_delivery_once"),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "sending"], ended_at__isnull=True)
                | Q(state__in=["delivered", "given_up"], ended_at__isnull=False),
                name="webhook_ended_at_iff_ended",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending"]) | Q(tries__gte=1, first_tried_at__isnull=False), name="webhook_sent_was_tried"
            ),
        ]
        indexes: ClassVar = [
            # what is due, by endpoint, and what of a subject waits before it
            models.Index(fields=["endpoint", "due_at", "id"], condition=Q(state__in=["pending", "sending"]), name="webhook_due"),
            models.Index(
                fields=["endpoint", "subject", "event"], condition=Q(state__in=["pending", "sending"]), name="webhook_order"
            ),
            models.Index(fields=["endpoint", "-id"], name="webhook_delivery_pages"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}"


class WebhookTry(models.Model):
    """One request of a delivery, and what came back: the delivery log."""

    delivery = models.ForeignKey(WebhookDelivery, models.CASCADE, related_name="log")
    request_id = models.UUIDField(help_text="sent along as x-request-id")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.CharField(max_length=40, default="", blank=True)
    detail = models.CharField(max_length=300, default="", blank=True)
    answer = models.TextField(default="", blank=True, help_text="the first KB of it")
    ms = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"try {self.number} of delivery {self.delivery_id}"
