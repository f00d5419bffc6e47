"""What checked results say of pools, and the queue of units whose results wait to be compared."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Unjudged(models.Model):
    """The queue of units whose siblings want a look: written with the lease or the report, deleted with the look."""

    unit = models.ForeignKey("Unit", models.CASCADE, db_index=False)
    at = models.DateTimeField()

    class Meta:
        verbose_name = "unit to be judged"
        verbose_name_plural = "units to be judged"


class Trust(models.Model):
    """What a pool's checked results with one capability version were like (`scheduler/verification/trust.py`).

    `valid`, `invalid`, `lost` are sums as of `updated_at`, in which each result counts half after 14 days.
    """

    pool = models.ForeignKey("marketplace.Pool", models.CASCADE, related_name="trust")
    capability_version = models.ForeignKey("marketplace.CapabilityVersion", models.CASCADE, db_index=False)
    streak = models.PositiveIntegerField(default=0, help_text="consecutive valid results")
    valid = models.FloatField(default=0)
    invalid = models.FloatField(default=0)
    lost = models.FloatField(default=0)
    samples = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "trust"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["capability_version", "pool"], name="trust_once"),
        ]


class PoolEvent(models.Model):
    """What became of a pool's standing, and why: its owner's notices, and the evidence of an appeal."""

    class Kind(models.TextChoices):
        QUARANTINED = "quarantined"
        RETURNED = "returned", "returned from quarantine"
        LIFTED = "lifted", "quarantine lifted by an operator"
        LEVEL = "level", "level changed"
        LEVEL_ENDS = "level_ends", "level ends soon"
        AUDITED = "audited", "audited by an operator"

    pool = models.ForeignKey("marketplace.Pool", models.CASCADE, related_name="events", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    detail = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["pool", "-id"], name="pool_events")]
