"""What the platform keeps back of payouts for a while: a payee's rolling reserve. Nothing of it ever changes.

ReserveTerms          how much is kept back of a payee's payouts, and for how long, from a moment on
Withholding           what one payout kept back; a line of that payout, below zero
  `- ReserveRelease   what of it is owed to the payee again: the rest when its days are over, or drawn before to cover a debt
"""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models import F, Q

from billing.models.journal import JournalEntry

MOST_POINTS: Final = 9000  # nine tenths: something of every payout goes out
MOST_DAYS: Final = 3650


class ReserveTerms(models.Model):
    """A payee's terms from `starts_at` on, until others start. Without any the settings hold."""

    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="reserve_terms", db_index=False)
    basis_points = models.PositiveSmallIntegerField(help_text="of what a payout comes to: 1000 is a tenth")
    days = models.PositiveSmallIntegerField(help_text="from the run on, until it is released")
    starts_at = models.DateTimeField(help_text="runs as of this moment or later go by it")
    note = models.CharField(max_length=300, blank=True, default="")
    agreed_at = models.DateTimeField()
    agreed_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    class Meta:
        verbose_name_plural = "reserve terms"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "starts_at"], name="reserve_terms_once"),
            models.CheckConstraint(
                condition=Q(basis_points__lte=MOST_POINTS, days__lte=MOST_DAYS), name="reserve_terms_leave_something"
            ),
            models.CheckConstraint(condition=Q(starts_at__gte=F("agreed_at")), name="reserve_terms_are_for_what_comes"),
        ]

    def __str__(self) -> str:
        return f"{self.basis_points} basis points for {self.days} days"


class Withholding(models.Model):
    """What a payout kept back. It is void where that payout was cancelled, and held from the moment it is paid."""

    payout = models.OneToOneField("billing.Payout", models.PROTECT, related_name="withholding")
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+")
    currency = models.CharField(max_length=3)
    base_micros = models.BigIntegerField(help_text="what the payout came to, without what was released into it")
    basis_points = models.PositiveSmallIntegerField()
    amount_micros = models.BigIntegerField()
    withheld_at = models.DateTimeField()
    release_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(amount_micros__gt=0, amount_micros__lte=F("base_micros")), name="withholding_is_a_part"
            ),
            models.CheckConstraint(condition=Q(release_at__gte=F("withheld_at")), name="withholding_ends_later"),
        ]

    def __str__(self) -> str:
        return f"withheld of payout {self.payout_id}"


class ReserveRelease(models.Model):
    """What of a withholding is owed to the payee again, due with the next run, and posted.

    released  the rest, when its days were over: once     drawn  before, to cover what the payee owed
    """

    class Kind(models.TextChoices):
        RELEASED = "released"
        DRAWN = "drawn"

    withholding = models.ForeignKey(Withholding, models.PROTECT, related_name="releases")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    amount_micros = models.BigIntegerField()
    released_at = models.DateTimeField()
    entry = models.OneToOneField(JournalEntry, models.PROTECT, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["withholding"], condition=Q(kind="released"), name="reserve_released_once"),
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="reserve_release_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of withholding {self.withholding_id}"
