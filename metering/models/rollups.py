"""Sums of facts, kept so that nobody adds them up twice. Caches: each can be built again from the facts, to the byte."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models


class UsageHour(models.Model):
    """What a customer used by one meter in one hour (UTC). `digest` is of the keys and digests of the events it adds up."""

    customer = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    meter = models.CharField(max_length=64)
    unit = models.CharField(max_length=24)
    hour = models.DateTimeField()
    quantity = models.DecimalField(max_digits=62, decimal_places=12)
    events = models.BigIntegerField()
    gaps = models.BigIntegerField(help_text="readings of counters that miss one before them, or went backwards")
    digest = models.UUIDField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "meter", "unit", "hour"], name="usage_hour_once")
        ]

    def __str__(self) -> str:
        return f"{self.meter} {self.hour:%FT%H}"


class UsageSubject(models.Model):
    """What peaks are of: a customer's use of a pool by one meter, in days of the customer's zone. Made when first seen."""

    customer = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, related_name="+")
    meter = models.CharField(max_length=64)
    unit = models.CharField(max_length=24)
    zone = models.CharField(max_length=64, help_text="IANA time zone")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "pool", "meter", "unit", "zone"], name="usage_subject_once")
        ]

    def __str__(self) -> str:
        return f"{self.meter} ({self.unit}) {self.zone}"


class UsageDay(models.Model):
    """A subject's local day in slots of five minutes: 288, or 276 and 300 when the clocks change; and the same ranked.

    stat    sum: of what was reported as quantities; avg, max: of gauges
    slots   thousandths of the unit, the fraction cut off. NULL: nobody can vouch for the slot, which is not 0
    latest  when the newest of its facts was accepted: who asks as of an earlier moment has to add up for himself

    What stands beside `slots` is made of them by `metering/peaks_sql.py`, whose statements read this table.
    """

    class Stat(models.TextChoices):
        SUM = "sum"
        AVG = "avg"
        MAX = "max"

    subject = models.ForeignKey(UsageSubject, models.CASCADE, related_name="days", db_index=False)
    stat = models.CharField(max_length=3, choices=Stat.choices)
    day = models.DateField()
    slots = ArrayField(models.BigIntegerField(null=True))
    width = models.SmallIntegerField()
    known = models.SmallIntegerField()
    top = ArrayField(models.BigIntegerField())
    top_at = ArrayField(models.IntegerField())
    ranked = ArrayField(models.BigIntegerField())
    ladder = ArrayField(models.BigIntegerField())
    digest = models.UUIDField(help_text="of the facts")
    latest = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["subject", "stat", "day"], name="usage_day_once")]

    def __str__(self) -> str:
        return f"{self.stat} {self.day}"
