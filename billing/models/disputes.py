"""Disputes about charges: who doubts which, what was said, and what became of it. `billing/disputes/states.py` draws the states.

Dispute
  |- DisputedCharge   one per charge; what is taken back of it is a charge of its own, of kind `refund`, or a month's revision
  `- DisputeMessage   what the parties and the platform said, in order; never changed
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.charges import Charge
from billing.models.invoices import CreditNote
from billing.models.periods import PeriodCharge


class Dispute(models.Model):
    """A customer's doubt about charges of one provider and publisher. Only what happens to it changes.

    publisher      null: it is about charges of months of a pool, of which a publisher has no share
    respondent     who shall answer: the provider, or the publisher where a charge has none (a fee, of a task or a month)
    disputed       the sum of its charges            awarded   what the decision takes back of it
    decided_by     null when the respondent did not answer in time
    """

    class State(models.TextChoices):
        OPEN = "open"
        ANSWERED = "answered"
        DECIDED = "decided"
        WITHDRAWN = "withdrawn"

    class Reason(models.TextChoices):
        NOT_DELIVERED = "not_delivered"
        WRONG_RESULT = "wrong_result"
        WRONG_USAGE = "wrong_usage"
        WRONG_PRICE = "wrong_price"
        DUPLICATE = "duplicate"
        NOT_ORDERED = "not_ordered"
        OTHER = "other"

    class Position(models.TextChoices):
        ACCEPTS = "accepts"
        CONTESTS = "contests"

    class Outcome(models.TextChoices):
        UPHELD = "upheld"
        PARTLY = "partly"
        REJECTED = "rejected"

    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    provider = models.ForeignKey("marketplace.Organization", models.PROTECT, null=True, blank=True, related_name="+")
    publisher = models.ForeignKey("marketplace.Organization", models.PROTECT, null=True, blank=True, related_name="+")
    respondent = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=20, choices=Reason.choices)
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    position = models.CharField(max_length=8, choices=Position.choices, blank=True, default="", help_text="the respondent's")
    outcome = models.CharField(max_length=8, choices=Outcome.choices, blank=True, default="")
    charges_count = models.IntegerField()
    disputed_micros = models.BigIntegerField()
    awarded_micros = models.BigIntegerField(default=0)
    opened_at = models.DateTimeField()
    opened_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    answer_until = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="decided or withdrawn")
    decided_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(charges_count__gt=0, disputed_micros__gt=0, awarded_micros__gte=0)
                & Q(awarded_micros__lte=F("disputed_micros")),
                name="dispute_takes_back_at_most_all",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["decided", "withdrawn"], ended_at__isnull=False)
                | Q(state__in=["open", "answered"], ended_at__isnull=True),
                name="dispute_ends_once",
            ),
            models.CheckConstraint(
                condition=Q(state="decided") & ~Q(outcome="") | ~Q(state="decided") & Q(outcome="", awarded_micros=0),
                name="dispute_decided_has_outcome",
            ),
            models.CheckConstraint(
                condition=~Q(outcome="rejected") | Q(awarded_micros=0), name="dispute_rejected_takes_nothing_back"
            ),
            models.CheckConstraint(
                condition=Q(position="", answered_at__isnull=True) | ~Q(position="") & Q(answered_at__isnull=False),
                name="dispute_answer_has_time",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["organization", "id"], name="dispute_of_organization"),
            models.Index(fields=["answer_until", "id"], condition=Q(state="open"), name="dispute_to_be_answered"),
        ]

    def __str__(self) -> str:
        return f"dispute {self.pk}"


class DisputedCharge(models.Model):
    """A charge in a dispute. While `open`, no payout takes its shares; a charge is disputed once, unless that was withdrawn.

    charge    of a task, or `period_charge`: of a month
    micros    the charge's amount              awarded   what was taken back of it, by `refund` or `period_refund`
    note      the credit note that gives it back, where the charge stood on a final invoice
    """

    class State(models.TextChoices):
        OPEN = "open"
        DECIDED = "decided"
        WITHDRAWN = "withdrawn"

    dispute = models.ForeignKey(Dispute, models.PROTECT, related_name="items")
    charge = models.ForeignKey(
        Charge, models.PROTECT, null=True, blank=True, related_name="disputed", db_constraint=False, db_index=False
    )
    period_charge = models.ForeignKey(PeriodCharge, models.PROTECT, null=True, blank=True, related_name="disputed", db_index=False)
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    micros = models.BigIntegerField()
    awarded_micros = models.BigIntegerField(default=0)
    refund = models.ForeignKey(
        Charge, models.PROTECT, null=True, blank=True, related_name="takes_back", db_constraint=False, db_index=False
    )
    period_refund = models.ForeignKey(
        PeriodCharge, models.PROTECT, null=True, blank=True, related_name="takes_back", db_index=False
    )
    note = models.ForeignKey(CreditNote, models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["charge"], condition=~Q(state="withdrawn"), name="charge_disputed_once"),
            models.UniqueConstraint(fields=["refund"], condition=Q(refund__isnull=False), name="refund_takes_back_once"),
            models.UniqueConstraint(fields=["period_charge"], condition=~Q(state="withdrawn"), name="period_charge_disputed_once"),
            models.UniqueConstraint(
                fields=["period_refund"], condition=Q(period_refund__isnull=False), name="period_refund_takes_back_once"
            ),
            models.CheckConstraint(
                condition=Q(charge__isnull=False, period_charge__isnull=True, period_refund__isnull=True)
                | Q(charge__isnull=True, period_charge__isnull=False, refund__isnull=True),
                name="disputed_charge_is_of_a_task_or_a_month",
            ),
            models.CheckConstraint(
                condition=Q(micros__gt=0, awarded_micros__gte=0) & Q(awarded_micros__lte=F("micros")),
                name="disputed_charge_gives_back_at_most_all",
            ),
            models.CheckConstraint(
                condition=Q(awarded_micros=0, refund__isnull=True, period_refund__isnull=True)
                | Q(awarded_micros__gt=0, state="decided")
                & (Q(refund__isnull=False) | Q(period_refund__isnull=False)),
                name="award_is_a_refund",
            ),
        ]

    def __str__(self) -> str:
        return f"charge {self.charge_id or self.period_charge_id} in dispute {self.dispute_id}"


class DisputeMessage(models.Model):
    """What somebody said in a dispute. Never changed."""

    class Role(models.TextChoices):
        CUSTOMER = "customer"
        PROVIDER = "provider"
        PUBLISHER = "publisher"
        PLATFORM = "platform"

    dispute = models.ForeignKey(Dispute, models.PROTECT, related_name="messages")
    role = models.CharField(max_length=9, choices=Role.choices)
    author = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    text = models.CharField(max_length=4000)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.role} in dispute {self.dispute_id}"
