"""Money that goes out: runs, payouts, the shares of charges that each pays, and attempts to send them.

PayoutRun
  `- Payout             one per payee and currency; `billing/settlement/states.py` draws its states
       |- PayoutLine    a share of a charge (of a task and an attempt, or of a month); its primary key is why none is paid twice
       `- PayoutAttempt one order to the gateway, under a key of its own
"""

from __future__ import annotations

from typing import ClassVar, Final

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod

from billing.models.charges import Charge
from billing.models.journal import JournalEntry
from billing.models.periods import PeriodCharge
from billing.models.reserves import ReserveRelease, Withholding

RESERVED: Final = -4_000_000_000_000_000_000  # shares of the reserve lie below, all others above


class PayoutRun(models.Model):
    """One gathering of what was due at a moment. Never changed."""

    as_of = models.DateTimeField(help_text="what was due by then")
    hold_days = models.PositiveSmallIntegerField(help_text="how long shares were held back")
    made_at = models.DateTimeField()
    made_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    def __str__(self) -> str:
        return f"run {self.pk}"


class Payout(models.Model):
    """What one payee gets in one currency. Only what happens to it changes, never what it pays.

    exact    the sum of its lines
    amount   what is sent: exact and what earlier payouts left over, down to the currency's minor unit
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        APPROVED = "approved"
        SENT = "sent"
        PAID = "paid"
        FAILED = "failed"
        CANCELLED = "cancelled"

    run = models.ForeignKey(PayoutRun, models.PROTECT, related_name="payouts")
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    minor_micros = models.IntegerField(help_text="the currency's minor unit")
    exact_micros = models.BigIntegerField()
    amount_micros = models.BigIntegerField()
    lines_count = models.IntegerField()
    state = models.CharField(max_length=9, choices=State.choices, default=State.DRAFT)
    attempts_count = models.IntegerField(default=0)
    reason = models.CharField(max_length=300, blank=True, default="", help_text="why it failed, or was cancelled")
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    sent_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="paid or cancelled")
    entry = models.OneToOneField(JournalEntry, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(amount_micros__gt=0, lines_count__gt=0), name="payout_is_positive"),
            models.CheckConstraint(
                condition=Q(amount_micros=F("amount_micros") - Mod("amount_micros", "minor_micros")),
                name="payout_is_of_minor_units",
            ),
            models.CheckConstraint(
                condition=Q(state="paid", entry__isnull=False) | Q(entry__isnull=True) & ~Q(state="paid"),
                name="payout_paid_is_posted",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["paid", "cancelled"], ended_at__isnull=False)
                | Q(ended_at__isnull=True) & ~Q(state__in=["paid", "cancelled"]),
                name="payout_ends_once",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "cancelled"]) | Q(approved_at__isnull=False), name="payout_is_approved_first"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "id"], name="payout_of_organization"),
            models.Index(fields=["id"], condition=Q(state__in=["approved", "sent"]), name="payout_under_way"),
        ]

    def __str__(self) -> str:
        return f"payout {self.pk}"


_NEITHER: Final = {"withholding": None, "release": None}
_NO_CHARGE: Final = {"charge": None, "period_charge": None}


class PayoutLine(models.Model):
    """A share of a charge in a payout: one, or none. A cancelled payout gives its lines to the next one.

    `share` is twice the charge's number, plus one for the publisher's; of a charge by period, of which either the provider or the
    publisher has a share, it is that charge's number, negative. Of the reserve it lies below RESERVED: by twice the number of the
    withholding, or by twice that of the release, plus one. A CHECK keeps it so. No foreign keys to the charges in PostgreSQL: they
    cannot go away, and a trigger compares every line with its charge.
    """

    class Role(models.TextChoices):
        PROVIDER = "provider"
        PUBLISHER = "publisher"
        RESERVE = "reserve"

    share = models.BigIntegerField(primary_key=True)
    charge = models.ForeignKey(
        Charge, models.PROTECT, null=True, blank=True, related_name="payout_lines", db_constraint=False, db_index=False
    )
    period_charge = models.ForeignKey(
        PeriodCharge, models.PROTECT, null=True, blank=True, related_name="payout_lines", db_constraint=False, db_index=False
    )
    withholding = models.ForeignKey(
        Withholding, models.PROTECT, null=True, blank=True, related_name="lines", db_constraint=False, db_index=False
    )
    release = models.ForeignKey(
        ReserveRelease, models.PROTECT, null=True, blank=True, related_name="lines", db_constraint=False, db_index=False
    )
    role = models.CharField(max_length=9, choices=Role.choices)
    payout = models.ForeignKey(Payout, models.PROTECT, related_name="lines")
    amount_micros = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(**_NEITHER, period_charge=None, role="provider", share=F("charge_id") * 2)
                | Q(**_NEITHER, period_charge=None, role="publisher", share=F("charge_id") * 2 + 1)
                | Q(**_NEITHER, charge=None, role__in=["provider", "publisher"], share=-F("period_charge_id"), share__gt=RESERVED)
                | Q(**_NO_CHARGE, release=None, role="reserve", share=RESERVED - F("withholding_id") * 2)
                | Q(**_NO_CHARGE, withholding=None, role="provider", share=RESERVED - F("release_id") * 2 - 1),
                name="payout_line_is_of_its_share",
            )
        ]

    def __str__(self) -> str:
        if self.withholding_id or self.release_id:
            return f"reserve, {'withheld' if self.withholding_id else 'released'}"
        charge = f"charge {self.charge_id}" if self.charge_id else f"period charge {self.period_charge_id}"
        return f"{self.role}'s share of {charge}"


class PayoutAttempt(models.Model):
    """One order to the gateway: sent -> paid | failed. Repeated under the same key until the gateway said how it ended."""

    class State(models.TextChoices):
        SENT = "sent"
        PAID = "paid"
        FAILED = "failed"

    payout = models.ForeignKey(Payout, models.PROTECT, related_name="attempts", db_index=False)
    number = models.IntegerField(help_text="1, 2, 3 ... within its payout")
    key = models.CharField(max_length=60, unique=True)
    state = models.CharField(max_length=6, choices=State.choices, default=State.SENT)
    reference = models.CharField(max_length=100, blank=True, default="", help_text="the gateway's")
    reason = models.CharField(max_length=300, blank=True, default="")
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["payout", "number"], name="payout_attempt_once"),
            # while one order is open, or once one was paid, there is no other
            models.UniqueConstraint(fields=["payout"], condition=~Q(state="failed"), name="payout_attempt_alone"),
        ]
        indexes: ClassVar = [models.Index(fields=["id"], condition=Q(state="sent"), name="payout_attempt_open")]

    def __str__(self) -> str:
        return self.key


class SandboxTransfer(models.Model):
    """What the sandbox gateway was told to send, and what it answered: the books of a bank that moves no money."""

    key = models.CharField(max_length=60, unique=True)
    payee = models.CharField(max_length=100)
    amount_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    succeeded = models.BooleanField()
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key
