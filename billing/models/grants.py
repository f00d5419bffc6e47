"""Promotional credit: grants with an end, and what was taken of each."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.journal import JournalEntry
from billing.models.payments import Payment


class Grant(models.Model):
    """Credit that the platform gives away until a moment. It pays invoices before prepaid money does.

    `left` is what its moves leave of `amount`: a trigger keeps it. Nothing else of a grant ever changes.
    """

    key = models.CharField(max_length=80, unique=True, help_text="names its cause, so that it is given once")
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    left_micros = models.BigIntegerField(help_text="not used and not expired")
    expires_at = models.DateTimeField(help_text="it pays nothing from this moment on")
    reason = models.CharField(max_length=200)
    granted_at = models.DateTimeField()
    granted_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(amount_micros__gt=0, left_micros__gte=0, left_micros__lte=F("amount_micros")),
                name="grant_is_never_below_zero",
            ),
            models.CheckConstraint(condition=Q(granted_at__lt=F("expires_at")), name="grant_lasts"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "-id"], name="grant_of_organization"),
            models.Index(fields=["expires_at", "id"], condition=Q(left_micros__gt=0), name="grant_with_something_left"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_micros} micros of {self.currency}: {self.reason}"


class GrantMove(models.Model):
    """What was taken of a grant: `used` by a payment of an invoice, or `expired` with its end, once. Never changed."""

    class Kind(models.TextChoices):
        USED = "used"
        EXPIRED = "expired"

    grant = models.ForeignKey(Grant, models.PROTECT, related_name="moves")
    kind = models.CharField(max_length=7, choices=Kind.choices)
    amount_micros = models.BigIntegerField()
    payment = models.OneToOneField(Payment, models.PROTECT, null=True, blank=True, related_name="grant_move")
    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="+", db_index=False)
    moved_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="grant_move_takes_something"),
            models.CheckConstraint(
                condition=Q(kind="used", payment__isnull=False) | Q(kind="expired", payment__isnull=True),
                name="grant_move_used_is_a_payment",
            ),
            models.UniqueConstraint(fields=["grant"], condition=Q(kind="expired"), name="grant_expires_once"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_micros} micros of grant {self.grant_id}: {self.kind}"
