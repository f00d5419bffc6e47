"""What is left of work that was broken off."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from scheduler.models.units import Attempt, Unit


class Checkpoint(models.Model):
    """The last state that an attempt saved: the unit's next attempt goes on from it, wherever it runs.

    `at` is the server's clock. `usage` is what the attempt claims to have taken up to then: if its machine is reclaimed,
    that much is paid and the rest is not.
    """

    attempt = models.OneToOneField(Attempt, models.CASCADE, primary_key=True, related_name="checkpoint")
    unit = models.ForeignKey(Unit, models.CASCADE, db_constraint=False)
    at = models.DateTimeField()
    number = models.PositiveIntegerField(default=1, help_text="how many this attempt saved")
    files = models.JSONField(help_text="[{path, sha256, bytes}]")
    bytes = models.BigIntegerField()
    usage = models.JSONField(null=True, help_text="the agent's claim up to then")

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(bytes__gte=0), name="checkpoint_bytes_not_negative")]
