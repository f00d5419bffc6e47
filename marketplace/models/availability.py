"""When a pool is not there: planned maintenance, and what its agent holds and feels meanwhile."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import Func, Q


class MaintenanceWindow(models.Model):
    """A period in which a pool does no work, announced before it begins. Windows of a pool never overlap.

        planned ──► running ──► over          read from `period` and the clock; nothing has to move it
           └── taken back      └── ended early

    No unit is placed whose expected end passes the window's start; what still runs then is reclaimed with notice.
    """

    class Category(models.TextChoices):
        HARDWARE = "hardware"
        SOFTWARE = "software"
        NETWORK = "network"
        POWER = "power"
        OTHER = "other"

    pool = models.ForeignKey("Pool", models.CASCADE, related_name="windows")
    period = DateTimeRangeField(help_text="[from, to)")
    category = models.CharField(max_length=10, choices=Category.choices, default=Category.OTHER)
    note = models.CharField(max_length=300, blank=True, default="")
    announced_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            # a scalar needs no btree_gist when it is written as a one-element range
            ExclusionConstraint(
                name="maintenance_windows_do_not_overlap",
                expressions=[
                    (Func("pool_id", "pool_id", models.Value("[]"), function="int8range"), "&&"),
                    ("period", "&&"),
                ],
            ),
            models.CheckConstraint(
                condition=Q(period__isempty=False, period__lower_inf=False, period__upper_inf=False),
                name="maintenance_window_has_both_ends",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.pool_id}/{self.category}"


class CachedBlob(models.Model):
    """A large blob that a pool's agent says it holds: near-data placement reads it. Replaced as a whole by each status."""

    pool = models.ForeignKey("Pool", models.CASCADE, related_name="cached_blobs", db_index=False)
    sha256 = models.CharField(max_length=64)
    bytes = models.BigIntegerField()
    seen_at = models.DateTimeField()
    kept = models.BooleanField(default=False, db_default=False, help_text="a copy that somebody wished, not a cache's")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["pool", "sha256"], name="cached_blob_once_per_pool")]
        indexes: ClassVar = [
            # the planner: who holds these?
            models.Index(fields=["sha256", "pool"], name="cached_blob_by_content")
        ]

    def __str__(self) -> str:
        return f"{self.pool_id}/{self.sha256[:12]}"
