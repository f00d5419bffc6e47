"""Copies of blobs that organizations want kept in regions, and what they pin."""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models import Q


class Replica(models.Model):
    """One copy of a blob in one region, kept by the agent of a pool there, as an organization wished.

                   ┌──────────────────────┐
                   ▼                      │ its agent is gone, or has no room any more
        WANTED ──► COPYING ──► HELD ──────┤
          ▲  │       │  │                 ▼
          │  │       │  └───────────►  GONE     not wished any more, or expired
          │  └───────┼──────────────►   ▲
          └──────────┤ given up here    │
                     ▼                  │
                   FAILED ──────────────┘       tried often enough; wishing again makes it WANTED

    WANTED has no pool, COPYING and HELD have one. The arrows are MOVES, taken by guarded UPDATEs only; GONE never moves.
    Of one blob, region and organization at most one row is not GONE. A pool keeps a blob once, however many wish it.
    """

    class State(models.TextChoices):
        WANTED = "wanted"
        COPYING = "copying"
        HELD = "held"
        FAILED = "failed"
        GONE = "gone"

    MOVES: Final = {
        "wanted": {"copying", "gone"},
        "copying": {"held", "wanted", "failed", "gone"},
        "held": {"wanted", "gone"},
        "failed": {"wanted", "gone"},
        "gone": set(),
    }

    blob = models.ForeignKey("Blob", models.CASCADE, related_name="replicas", db_index=False)
    region = models.ForeignKey("Region", models.PROTECT, db_index=False)
    organization = models.ForeignKey("Organization", models.CASCADE, related_name="replicas")
    pool = models.ForeignKey("Pool", models.SET_NULL, null=True, blank=True, related_name="replicas", db_index=False)
    bytes = models.BigIntegerField()
    state = models.CharField(max_length=7, choices=State.choices, default=State.WANTED)
    detail = models.CharField(max_length=200, default="", blank=True, help_text="why it waits or failed")
    tries = models.PositiveSmallIntegerField(default=0, help_text="copies that did not succeed")
    told_at = models.DateTimeField(null=True, blank=True, help_text="when the pool's agent was last asked for it")
    asked_by = models.ForeignKey("User", models.SET_NULL, null=True, blank=True)
    asked_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(help_text="then it goes, unless the organization has pinned the blob")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["blob", "region", "organization"], condition=~Q(state="gone"), name="replica_once"),
            models.CheckConstraint(
                condition=Q(state__in=["copying", "held"], pool__isnull=False)
                | Q(state="wanted", pool__isnull=True)
                | Q(state__in=["failed", "gone"]),
                name="replica_pool_by_state",
            ),
            models.CheckConstraint(condition=Q(bytes__gte=0), name="replica_bytes_not_negative"),
        ]
        indexes: ClassVar = [
            # what an agent is to keep
            models.Index(fields=["pool", "blob"], condition=Q(state__in=["copying", "held"]), name="replica_of_pool"),
            # the sweep: what is to be done, and what expires
            models.Index(fields=["id"], condition=Q(state="wanted"), name="replica_wanted"),
            models.Index(fields=["expires_at"], condition=~Q(state="gone"), name="replica_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.blob_id[:12]} in {self.region_id}"


class Pin(models.Model):
    """An organization wants a blob to stay where it is held or cached, until a moment."""

    organization = models.ForeignKey("Organization", models.CASCADE, related_name="pins")
    blob = models.ForeignKey("Blob", models.CASCADE, related_name="pins", db_index=False)
    until = models.DateTimeField()
    pinned_by = models.ForeignKey("User", models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["blob", "organization"], name="pin_once")]

    def __str__(self) -> str:
        return f"{self.blob_id[:12]} until {self.until:%Y-%m-%d}"
