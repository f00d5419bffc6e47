"""Sums of events, kept so that nobody adds them up twice. Caches: each can be built again from the events, to the byte."""

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


class UsageDay(models.Model):
    """The same for a local day, in slots of five minutes: 288, or 276 and 300 when the clocks change.

    A slot in which nothing was reported is NULL, which is not 0. The day is [midnight, midnight) in `zone`.
    """

    customer = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    meter = models.CharField(max_length=64)
    unit = models.CharField(max_length=24)
    zone = models.CharField(max_length=64, help_text="IANA time zone")
    day = models.DateField()
    slots = ArrayField(models.DecimalField(max_digits=62, decimal_places=12, null=True))
    digest = models.UUIDField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["customer", "meter", "unit", "zone", "day"], name="usage_day_once")
        ]

    def __str__(self) -> str:
        return f"{self.meter} {self.day}"
