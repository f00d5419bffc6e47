"""What was observed, and where it comes from. Never changed: what was wrong is rolled back with its batch, and stands there."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q


class Origin(models.TextChoices):
    """How a value came about."""

    IMPORTED = "imported"
    LIVE = "live"
    DERIVED = "derived"
    IMPUTED = "imputed"
    SYNTHETIC = "synthetic"


class Profile(models.TextChoices):
    """Of the country's statistics, or of this platform alone; the two never mix."""

    NATIONAL = "national"
    PLATFORM = "platform"


class ObservationBatch(models.Model):
    """What came together: a file, a night's facts, a generator's values.

        PREVIEW ──► COMMITTED ──► ROLLED_BACK
          └───────► DROPPED

    content   the file itself, until it is committed or dropped
    digest    SHA-256 of the file, or of what was counted
    report    what the preview found: [{code, severity, row, field, detail}]
    source    {title, publisher, url, date, licence} of the whole file; rows may name their own
    """

    class State(models.TextChoices):
        PREVIEW = "preview"
        COMMITTED = "committed"
        ROLLED_BACK = "rolled_back"
        DROPPED = "dropped"

    MOVES: ClassVar = {
        "preview": {"committed", "dropped"}, "committed": {"rolled_back"}, "rolled_back": set[str](), "dropped": set[str](),
    }  # fmt: skip

    profile = models.CharField(max_length=8, choices=Profile.choices)
    origin = models.CharField(max_length=9, choices=Origin.choices)
    name = models.CharField(max_length=200, help_text="the file's, or what made it")
    digest = models.CharField(max_length=64)
    content = models.BinaryField(null=True)
    source = models.JSONField(default=dict)
    report = models.JSONField(default=list)
    rows = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=11, choices=State.choices, default=State.PREVIEW)
    created_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    committed_at = models.DateTimeField(null=True, blank=True)
    rolled_back_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        verbose_name_plural = "observation batches"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(state__in=["preview", "dropped"], committed_at__isnull=True, rolled_back_at__isnull=True)
                | Q(state="committed", committed_at__isnull=False, rolled_back_at__isnull=True)
                | Q(state="rolled_back", committed_at__isnull=False, rolled_back_at__gte=F("committed_at")) & ~Q(reason=""),
                name="observation_batch_moves_on",
            ),
            models.UniqueConstraint(
                fields=["profile", "digest"], condition=Q(state__in=["preview", "committed"]), name="observation_file_once"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["-created_at"], name="observation_batch_newest")]

    def __str__(self) -> str:
        return f"{self.name} ({self.state})"


class Observation(models.Model):
    """One value of one region and period, as its source has it.

    region     GB/T 2260, six digits; 100000: the whole country, a control total
    period     a year (2022) or a month (2022-03)
    value      in `unit`, exact
    vintage    when this value was published; of two the later stands, as of its date
    precision  of a capacity: what it was quoted in (FP16 ...), free text otherwise
    row        of the file
    evidence   of a live value: {query, window, n}
    """

    batch = models.ForeignKey(ObservationBatch, models.PROTECT, related_name="observations")
    region = models.CharField(max_length=6)
    variable = models.CharField(max_length=60)
    period = models.CharField(max_length=7)
    value = models.DecimalField(max_digits=38, decimal_places=12)
    unit = models.CharField(max_length=40)
    vintage = models.DateField()
    precision = models.CharField(max_length=40, blank=True)
    source = models.CharField(max_length=500, blank=True)
    url = models.CharField(max_length=500, blank=True)
    note = models.CharField(max_length=500, blank=True)
    row = models.PositiveIntegerField(default=0)
    evidence = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["batch", "variable", "period", "region", "vintage"], name="observed_once_in_a_batch"),
            models.CheckConstraint(condition=Q(region__regex=r"^[1-9][0-9]{5}$"), name="observation_has_a_region"),
            models.CheckConstraint(condition=Q(period__regex=r"^[0-9]{4}(-(0[1-9]|1[0-2]))?$"), name="observation_has_a_period"),
        ]
        indexes: ClassVar = [models.Index(fields=["variable", "period", "region"], name="observation_of_variable")]

    def __str__(self) -> str:
        return f"{self.variable} {self.region} {self.period}"
