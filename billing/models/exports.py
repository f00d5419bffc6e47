"""Files of money and usage that somebody asked for. `billing/exports/states.py` draws their states."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db import models
from django.db.models import Q

from core.ids import uuid7

_WHO: Final[dict[str, Any]] = {"on_delete": models.PROTECT, "null": True, "blank": True, "related_name": "+", "db_index": False}


class Export(models.Model):
    """One file: what was asked for, and how far it is. Only what happens to it changes, never what it is of.

    organization  whose it is, and who may read it; null: everybody's, for operators
    key           SHA-256 of the question; while one is open, asking again finds it
    tries         how often somebody began to write it, and the fence: only the last one may finish it
    rows          written so far, and when it is ready all of them; `estimated`: expected, null when nobody knows
    """

    class State(models.TextChoices):
        REQUESTED = "requested"
        RUNNING = "running"
        READY = "ready"
        FAILED = "failed"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey("marketplace.Organization", **_WHO)
    requested_by = models.ForeignKey("marketplace.User", **_WHO)
    kind = models.CharField(max_length=12)
    schema = models.CharField(max_length=20, help_text="kind and version of its columns")
    format = models.CharField(max_length=12)
    party = models.CharField(max_length=9, help_text="as whom the organization asks; all: everybody's")
    starts_at = models.DateTimeField(help_text="included")
    ends_at = models.DateTimeField(help_text="excluded")
    currency = models.CharField(max_length=3, blank=True, default="", help_text="only this one; empty: any")
    group_by = models.CharField(max_length=10, blank=True, default="", help_text="of statements")
    site = models.CharField(max_length=60, blank=True, default="", help_text="of APEL's records")
    in_ascii = models.BooleanField(default=False)
    key = models.CharField(max_length=64)
    state = models.CharField(max_length=9, choices=State.choices, default=State.REQUESTED)
    tries = models.PositiveSmallIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    estimated = models.BigIntegerField(null=True, blank=True)
    rows = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="", help_text="why it failed, or is tried again")
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="ready or failed")
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["key"], condition=Q(state__in=["requested", "running"]), name="export_open_once"),
            models.CheckConstraint(
                condition=~Q(state__in=["ready", "expired"])
                | Q(sha256__regex=r"^[0-9a-f]{64}$", bytes__isnull=False, expires_at__isnull=False),
                name="export_ready_has_a_file",
            ),
            models.CheckConstraint(condition=~Q(state="running") | Q(lease_until__isnull=False), name="export_runs_under_a_lease"),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(reason=""), name="export_failed_says_why"),
            models.CheckConstraint(
                condition=Q(state__in=["requested", "running"], ended_at__isnull=True)
                | ~Q(state__in=["requested", "running"]) & Q(ended_at__isnull=False),
                name="export_ends_once",
            ),
            models.CheckConstraint(condition=Q(starts_at__lte=models.F("ends_at"), rows__gte=0), name="export_is_sane"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "id"], name="export_of_organization"),
            # the sweep: what is to be written, and whose file goes
            models.Index(fields=["id"], condition=Q(state__in=["requested", "running"]), name="export_open"),
            models.Index(fields=["expires_at"], condition=Q(state="ready"), name="export_expires"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def stored(self) -> str:
        """Where the store keeps the file of this try."""
        return f"exports/{self.id}-{self.tries}"
