"""What is owed and why: charges, which the journal posts, and previews of the bills of open tasks."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q

from billing.models.journal import JournalEntry

# Without a second check in PostgreSQL, which would cost more than the charge itself: charges are only ever written
# from the rows that they name, and those cannot go away. A usage record and an entry refuse DELETE; the parties
# and the task are held by the usage record's attempt.
_HELD: Final[dict[str, Any]] = {"db_index": False, "db_constraint": False}


class Charge(models.Model):
    """What one usage record costs, or a task's fee, and how it is split. Never changed.

    kind usage   one per usage record; amounts may be zero, then `reason` says why nothing is charged
    kind fee     the publisher's fee for a delivered task, one per task
    kind delta   what a corrected usage record changes: its lines are of the whole, its amounts the difference, maybe negative
    kind refund  what a dispute takes back of a charge, which `DisputedCharge` names: of the same usage record, below zero
    kind sla     what a provider gives back of a task for a promise that it did not keep (`SLACredit`): below zero
    payer user or platform: the platform pays what the reason table lays on it
    """

    class Kind(models.TextChoices):
        USAGE = "usage"
        FEE = "fee"
        DELTA = "delta"
        REFUND = "refund"
        SLA = "sla"

    class Payer(models.TextChoices):
        USER = "user"
        PLATFORM = "platform"
        NOBODY = "nobody"

    kind = models.CharField(max_length=6, choices=Kind.choices)
    usage = models.ForeignKey("metering.UsageRecord", models.PROTECT, null=True, blank=True, **_HELD)
    task = models.ForeignKey("marketplace.Task", models.PROTECT, **_HELD)
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", **_HELD)
    provider = models.ForeignKey(
        "marketplace.Organization", models.PROTECT, null=True, related_name="+", **_HELD
    )
    publisher = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", **_HELD)
    payer = models.CharField(max_length=8, choices=Payer.choices)
    reason = models.CharField(max_length=40, help_text="the row of the reason table that decided")
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    provider_micros = models.BigIntegerField(default=0)
    publisher_micros = models.BigIntegerField(default=0)
    platform_micros = models.BigIntegerField(default=0)
    lines = models.JSONField(default=list, help_text="[{meter, quantity, unit_price, amount}], decimal text")
    entry = models.ForeignKey(JournalEntry, models.PROTECT, null=True, related_name="charges", **_HELD)
    charged_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["task"], condition=Q(kind="fee"), name="charge_fee_once_per_task"
            ),
            models.UniqueConstraint(fields=["usage"], condition=~Q(kind="refund"), name="charge_once_per_usage"),
            models.CheckConstraint(
                condition=Q(
                    amount_micros=F("provider_micros") + F("publisher_micros") + F("platform_micros")
                ),
                name="charge_split_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["usage", "delta"], usage__isnull=False)
                | Q(kind__in=["fee", "sla"], usage__isnull=True)
                | Q(kind="refund"),
                name="charge_of_usage_names_it",
            ),
            models.CheckConstraint(
                condition=Q(payer="nobody", amount_micros=0)
                | ~Q(payer="nobody") & (Q(amount_micros__gte=0) | Q(kind__in=["delta", "refund", "sla"])),
                name="charge_of_nobody_is_zero",
            ),
            models.CheckConstraint(condition=~Q(kind__in=["refund", "sla"]) | Q(amount_micros__lt=0), name="refund_is_below_zero"),
            models.CheckConstraint(
                condition=Q(amount_micros=0) | Q(entry__isnull=False), name="charge_with_money_is_posted"
            ),
        ]
        indexes: ClassVar = [
            # charging goes on after the last one; statements come here from the ledger: account, entry, task
            models.Index(fields=["task", "id"], name="charge_of_task"),
            # periods: what was handed over to them; no other charge is in it
            models.Index(
                fields=["organization", "charged_at"], name="charge_by_period", condition=Q(reason="by_period")
            ),
            # operators: what was charged today; a few bytes, because charges are written in the order of time
            BrinIndex(fields=["charged_at"], name="charge_by_time", pages_per_range=32),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}: {self.amount_micros} micros of {self.currency}"


class CostSoFar(models.Model):
    """What an open task would cost if it were delivered as it stands: a cursor, thrown away with the bill.

    `usage_id` is the last usage record that was counted. A record whose transaction committed out of order may
    be missed here, never in the bill.
    """

    task = models.OneToOneField("marketplace.Task", models.CASCADE, primary_key=True, db_constraint=False)
    usage_id = models.BigIntegerField(default=0)
    micros = models.BigIntegerField(default=0, help_text="before the task's price cap")

    class Meta:
        verbose_name_plural = "costs so far"

    def __str__(self) -> str:
        return f"{self.task_id}: {self.micros} micros so far"
