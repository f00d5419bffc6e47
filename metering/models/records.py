"""How much was used. Facts: written once, never changed; a correction is a new row with a higher revision."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

# Copied from the attempt, its task and its pool, whose own foreign keys hold them in place while the record's
# `attempt` holds the attempt: a second check of each, per record, would be a third of the cost of measuring.
_COPIED: Final[dict[str, Any]] = {"db_index": False, "db_constraint": False}


class UsageRecord(models.Model):
    """What one attempt took, after the agent's claim was clamped to its lease and the server's clock.

    The parties are copied, so that billing and statements never join back through the river. `started_at` and
    `ended_at` are the lease's by the server's clock, so `wall_ms` is never longer than the time between them.
    """

    attempt = models.ForeignKey("scheduler.Attempt", models.PROTECT, db_index=False)
    revision = models.PositiveSmallIntegerField(default=0)
    corrects = models.ForeignKey("self", models.PROTECT, null=True, blank=True, db_index=False)
    task = models.ForeignKey("marketplace.Task", models.PROTECT, **_COPIED)
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", **_COPIED)
    provider = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", **_COPIED)
    publisher = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", **_COPIED)
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, **_COPIED)
    offer = models.ForeignKey("marketplace.Offer", models.PROTECT, null=True, **_COPIED)
    api_key = models.ForeignKey("marketplace.ApiKey", models.PROTECT, null=True, **_COPIED)
    capability_version = models.ForeignKey("marketplace.CapabilityVersion", models.PROTECT, **_COPIED)
    stage = models.PositiveSmallIntegerField()
    outcome = models.CharField(max_length=10, help_text="the attempt's final state")
    reason_class = models.CharField(max_length=20, blank=True, default="")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    wall_ms = models.BigIntegerField()
    core_ms = models.BigIntegerField()
    held_core_ms = models.BigIntegerField(help_text="wall time x cores held")
    cores = models.IntegerField(null=True, help_text="held; null in records older than this column")
    accelerators = models.IntegerField(null=True, help_text="held")
    memory_mib_ms = models.BigIntegerField()
    accelerator_ms = models.BigIntegerField(default=0)
    fp32_gflop = models.DecimalField(max_digits=24, decimal_places=6, help_text="normalised work (标准算力)")
    bytes_in = models.BigIntegerField()
    bytes_out = models.BigIntegerField()
    joules = models.BigIntegerField(null=True, help_text="of the processors, where the machine measures them")
    flags = ArrayField(models.CharField(max_length=30), default=list, help_text="what was clamped")
    batch = models.ForeignKey("scheduler.ReportBatch", models.PROTECT, null=True, **_COPIED)
    measured_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["attempt", "revision"], name="usage_once_per_attempt"),
            models.CheckConstraint(
                condition=Q(wall_ms__gte=0, core_ms__gte=0, memory_mib_ms__gte=0, bytes_in__gte=0, bytes_out__gte=0),
                name="usage_is_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(revision=0, corrects__isnull=True) | Q(revision__gt=0, corrects__isnull=False),
                name="usage_correction_names_its_base",
            ),
        ]
        indexes: ClassVar = [
            # charging: what belongs to this task
            models.Index(fields=["task", "id"], name="usage_of_task"),
            # usage of one customer in a window; peaks of what it held
            models.Index(fields=["organization", "ended_at"], name="usage_of_organization"),
            # a provider's window, or everybody's: records are written about in the order in which attempts end
            BrinIndex(fields=["ended_at"], name="usage_when", pages_per_range=16, autosummarize=True),
            # which records were put right: none, as a rule
            models.Index(fields=["corrects"], condition=Q(revision__gt=0), name="usage_put_right"),
            # billing: what was corrected since the last close; corrections are few
            models.Index(fields=["organization", "measured_at"], name="usage_corrected", condition=Q(revision__gt=0)),
        ]
