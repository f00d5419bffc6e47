"""What checked results say of pools, and the queue of units whose results wait to be compared."""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models import Q


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
        WRONG = "wrong", "results were wrong"
        QUARANTINED = "quarantined"
        RETURNED = "returned", "returned from quarantine"
        LIFTED = "lifted", "quarantine lifted by an operator"
        LEVEL = "level", "level changed"
        LEVEL_ENDS = "level_ends", "level ends soon"
        AUDITED = "audited", "audited by an operator"
        RECHECKS = "rechecks", "results are run again"
        DOUBTED = "doubted", "run again, the result was another"

    pool = models.ForeignKey("marketplace.Pool", models.CASCADE, related_name="events", db_index=False)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    detail = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["pool", "-id"], name="pool_events")]


class Commitment(models.Model):
    """What an attempt bound itself to before anybody showed a result: SHA-256 over its result's hash and a salt.

        COMMITTED ──► ASKED ──► KEPT | BROKEN      its result fits | is another one
            └───────────┴────► VOID                the attempt ended without a result

    ASKED: the platform wants to see the result, now that all siblings are bound. The hash never changes.
    """

    class State(models.TextChoices):
        COMMITTED = "committed"
        ASKED = "asked"
        KEPT = "kept"
        BROKEN = "broken"
        VOID = "void"

    _ENDS: Final = {"kept", "broken", "void"}
    MOVES: Final = {"committed": {"asked", *_ENDS}, "asked": set(_ENDS), "kept": set(), "broken": set(), "void": set()}

    attempt = models.OneToOneField("Attempt", models.CASCADE, related_name="commitment")
    hash = models.CharField(max_length=64)
    state = models.CharField(max_length=9, choices=State.choices, default=State.COMMITTED)
    batch = models.ForeignKey(
        "ReportBatch", models.PROTECT, db_index=False, db_constraint=False, help_text="the signed reports it came with"
    )
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            # the sweep of commitments that wait too long, or whose attempt is gone
            models.Index(fields=["at"], condition=Q(state__in=["committed", "asked"]), name="commitment_open"),
        ]


class Recheck(models.Model):
    """A delivered, unchecked result of a pool that was caught later, run again as a sibling unit elsewhere.

        RUNNING ──► SAME | DIFFERENT | UNKNOWN      nobody could run it again
    """

    class State(models.TextChoices):
        RUNNING = "running"
        SAME = "same"
        DIFFERENT = "different"
        UNKNOWN = "unknown"

    MOVES: Final = {"running": {"same", "different", "unknown"}, "same": set(), "different": set(), "unknown": set()}

    attempt = models.OneToOneField("Attempt", models.CASCADE, related_name="recheck", help_text="whose result is in question")
    unit = models.OneToOneField("Unit", models.CASCADE, related_name="rechecks", help_text="the sibling that runs it again")
    state = models.CharField(max_length=9, choices=State.choices, default=State.RUNNING)
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [
            # the sweep of runs that came to nothing
            models.Index(fields=["unit"], condition=Q(state="running"), name="recheck_open"),
        ]
