"""Reconciliations: what providers' own counters said, and how it compares with what the platform knows. Written once."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db import models
from django.db.models import F, Q

_AMOUNT: Final[dict[str, Any]] = {"max_digits": 62, "decimal_places": 12}


class Reconciliation(models.Model):
    """One upload of a provider's counters, and how far they may be off: by the larger of an amount and a part of ours."""

    provider = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    name = models.CharField(max_length=200, blank=True, default="")
    absolute = models.DecimalField(**_AMOUNT)
    relative = models.DecimalField(max_digits=14, decimal_places=12)
    api_key = models.ForeignKey("marketplace.ApiKey", models.PROTECT, null=True, related_name="+", db_index=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(absolute__gte=0, relative__gte=0, relative__lte=1), name="reconciliation_tolerates")
        ]

    def __str__(self) -> str:
        return self.name or f"reconciliation {self.pk}"


class ReportedCounter(models.Model):
    """So much was used of a pool by one meter in [start, end), as its provider counted it: by a customer, or by all (null)."""

    reconciliation = models.ForeignKey(Reconciliation, models.PROTECT, related_name="counters", db_index=False)
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, related_name="+", db_index=False)
    customer = models.ForeignKey("marketplace.Organization", models.PROTECT, null=True, related_name="+", db_index=False)
    meter = models.CharField(max_length=64)
    unit = models.CharField(max_length=24)
    start = models.DateTimeField()
    end = models.DateTimeField()
    quantity = models.DecimalField(**_AMOUNT)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["reconciliation", "pool", "customer", "meter", "unit", "start", "end"],
                nulls_distinct=False,
                name="counter_once",
            ),
            models.CheckConstraint(condition=Q(quantity__gte=0, end__gt=F("start")), name="counter_counts"),
        ]

    def __str__(self) -> str:
        return f"{self.meter} {self.start:%F}"


class ReconciliationRun(models.Model):
    """The counters compared with the facts that were accepted before the cutoff. `counts`: how many rows by status."""

    reconciliation = models.ForeignKey(Reconciliation, models.PROTECT, related_name="runs", db_index=False)
    number = models.PositiveIntegerField(help_text="1, 2, ... of the reconciliation")
    cutoff = models.DateTimeField()
    counts = models.JSONField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["reconciliation", "number"], name="reconciliation_run_in_order")]

    def __str__(self) -> str:
        return f"run {self.number} of reconciliation {self.reconciliation_id}"


class ReconciliationRow(models.Model):
    """A line of a run's report. Null in `theirs` or `ours`: that side knows nothing of it. `difference` is theirs less ours."""

    class Status(models.TextChoices):
        MATCHED = "matched"
        WITHIN = "within"
        OFF = "off"
        MISSING_HERE = "missing_here"
        MISSING_THERE = "missing_there"

    run = models.ForeignKey(ReconciliationRun, models.PROTECT, related_name="rows")
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, related_name="+", db_index=False)
    customer = models.ForeignKey("marketplace.Organization", models.PROTECT, null=True, related_name="+", db_index=False)
    meter = models.CharField(max_length=64)
    unit = models.CharField(max_length=24)
    start = models.DateTimeField()
    end = models.DateTimeField()
    theirs = models.DecimalField(**_AMOUNT, null=True)
    ours = models.DecimalField(**_AMOUNT, null=True)
    difference = models.DecimalField(**_AMOUNT)
    facts = models.BigIntegerField(help_text="records and events that ours is the sum of")
    status = models.CharField(max_length=13, choices=Status.choices)

    def __str__(self) -> str:
        return f"{self.meter} {self.start:%F} {self.status}"
