"""What pools report that meter themselves: events, written once, known by who sent them and by nothing else."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

# Held in place by tables that are append-only: a check of each, per event, would be half the cost of storing it.
_HELD: Final[dict[str, Any]] = {"db_index": False, "db_constraint": False}


class UsageSeries(models.Model):
    """What the events of one source about one customer have in common. Made when first seen, never changed."""

    provider = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    source = models.CharField(max_length=200, help_text="the CloudEvents' `source`")
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, related_name="+")
    customer = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    meter = models.CharField(max_length=64, help_text="the CloudEvents' `type`")
    unit = models.CharField(max_length=24)

    class Meta:
        verbose_name_plural = "usage series"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["provider", "source", "pool", "customer", "meter", "unit"], name="usage_series_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.meter} ({self.unit})"


class UsageBatch(models.Model):
    """One request, or one decision of an operator, that brought events."""

    provider = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    api_key = models.ForeignKey("marketplace.ApiKey", models.PROTECT, null=True, **_HELD)
    received_at = models.DateTimeField()
    rows = models.PositiveIntegerField(help_text="events sent, whatever became of them")

    class Meta:
        verbose_name_plural = "usage batches"

    def __str__(self) -> str:
        return f"batch {self.pk}"


class UsageEvent(models.Model):
    """A fact: so much was used then. A quantity, a reading of a counter, or a sample of a gauge.

    key     16 bytes made of (provider, source, id) alone, so that the same event with another time is the same event.
            An id that is a UUIDv7 lends its time to the key's first six bytes: such keys are stored in order, which
            is twice as quick (metering/events/reading.py).
    digest  of what the event says: the same key with another digest is a conflict, never a second event.

    A counter's quantity is the difference to the reading before it, of the same `boot_id` by `seq`; the first of a
    boot counts whole. It is computed when it is asked for, because the reading before may arrive later.
    """

    key = models.UUIDField(primary_key=True, editable=False)
    series = models.ForeignKey(UsageSeries, models.PROTECT, **_HELD)
    batch = models.ForeignKey(UsageBatch, models.PROTECT, **_HELD)
    external_id = models.CharField(max_length=200, help_text="the CloudEvents' `id`")
    occurred_at = models.DateTimeField()
    accepted_at = models.DateTimeField(help_text="a billing run with an earlier cutoff does not see it")
    quantity = models.DecimalField(max_digits=42, decimal_places=12, null=True)
    labels = models.JSONField(null=True)
    digest = models.UUIDField()
    value = models.DecimalField(max_digits=42, decimal_places=12, null=True, help_text="a counter's reading")
    boot_id = models.CharField(max_length=64, null=True)  # noqa: DJ001  null: not a counter
    seq = models.BigIntegerField(null=True)
    gauge = models.DecimalField(max_digits=42, decimal_places=12, null=True, help_text="a sample of what is in use just then")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(quantity__gte=0, value__isnull=True, boot_id__isnull=True, seq__isnull=True, gauge__isnull=True)
                | Q(quantity__isnull=True, value__gte=0, boot_id__isnull=False, seq__gte=0, gauge__isnull=True)
                | Q(quantity__isnull=True, value__isnull=True, boot_id__isnull=True, seq__isnull=True, gauge__gte=0),
                name="usage_event_is_of_one_kind",
            ),
            models.UniqueConstraint(
                fields=["series", "boot_id", "seq"],
                condition=Q(value__isnull=False),
                name="usage_reading_once_per_seq",
            ),
        ]
        indexes: ClassVar = [
            # events arrive about in the order in which they happened: a few bytes per hundred pages find a window
            BrinIndex(fields=["occurred_at"], name="usage_event_when", pages_per_range=16, autosummarize=True)
        ]

    def __str__(self) -> str:
        return self.external_id


class UsageCorrection(models.Model):
    """What an event should have said, by its provider: from then on this counts in its place, at the event's own time.

    A quantity for one, and for a counter's reading, whose difference it stands for; a sample for a gauge's. The last
    revision counts. `name` is the provider's: the same again changes nothing, whatever else it says is a conflict.
    """

    event = models.ForeignKey(UsageEvent, models.PROTECT, **_HELD)
    revision = models.PositiveIntegerField(help_text="1, 2, ... of the event")
    name = models.CharField(max_length=200)
    quantity = models.DecimalField(max_digits=42, decimal_places=12, null=True)
    gauge = models.DecimalField(max_digits=42, decimal_places=12, null=True)
    reason = models.CharField(max_length=300, blank=True, default="")
    digest = models.UUIDField(help_text="of what it says")
    api_key = models.ForeignKey("marketplace.ApiKey", models.PROTECT, null=True, **_HELD)
    accepted_at = models.DateTimeField(help_text="a billing run with an earlier cutoff does not see it")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["event", "revision"], name="usage_correction_in_order"),
            models.UniqueConstraint(fields=["event", "name"], name="usage_correction_once"),
            models.CheckConstraint(
                condition=Q(quantity__gte=0, gauge__isnull=True) | Q(quantity__isnull=True, gauge__gte=0),
                name="usage_correction_is_of_one_kind",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class UsageDirty(models.Model):
    """A queue of hours whose rollups are no longer what the facts say. Rows are added and taken, never changed.

    Deliberately not unique: whoever adds a fact adds its hour, so a rebuild that has taken the hour before the
    fact was committed finds the hour again. A row without a customer is a pool's heartbeat: it concerns everybody whose
    usage the pool reports, and waits until the day is over, or every heartbeat would build them all again.
    """

    customer = models.ForeignKey("marketplace.Organization", models.CASCADE, related_name="+", null=True, **_HELD)
    pool = models.ForeignKey("marketplace.Pool", models.CASCADE, related_name="+", **_HELD)
    due = models.DateTimeField(db_default=Now())
    meter = models.CharField(max_length=64)
    unit = models.CharField(max_length=24)
    hour = models.DateTimeField()

    class Meta:
        verbose_name_plural = "dirty hours"

    def __str__(self) -> str:
        return f"{self.meter} {self.hour:%FT%H}"


class QuarantinedEvent(models.Model):
    """An event that was sent and is not counted: too old to be taken unseen, or at odds with one that is stored.

        OPEN ──► ACCEPTED    an operator takes the old event; it is then an event like any other
          └────► REFUSED     an operator leaves it out for good

    What contradicts a stored event can only be refused: the first stands, and is corrected by another event.
    """

    class Reason(models.TextChoices):
        CONFLICT = "conflict"
        TOO_OLD = "too_old"

    class State(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        REFUSED = "refused"

    MOVES: Final = {"open": {"accepted", "refused"}, "accepted": set(), "refused": set()}

    key = models.UUIDField()
    digest = models.UUIDField()
    provider = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    reason = models.CharField(max_length=10, choices=Reason.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    document = models.JSONField(help_text="the event as it was sent")
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["key", "digest"], name="quarantined_once"),
            models.CheckConstraint(
                condition=Q(state="open", decided_at__isnull=True) | (~Q(state="open") & Q(decided_at__isnull=False)),
                name="quarantined_decided_has_date",
            ),
            models.CheckConstraint(condition=~Q(reason="conflict", state="accepted"), name="quarantined_first_stands"),
        ]

    def __str__(self) -> str:
        return f"{self.document.get('id', self.key)}"
