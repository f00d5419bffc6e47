"""How much may still be spent: what is allowed, what is held for tasks that run, what budgets say.

The sums of these rows are projections of facts, kept by triggers in the transaction that writes the fact (the migration's
SQL): a leg of the journal moves `unpaid` and `prepaid`, a hold moves `held`, a charge is captured from its task's hold and
counted by the budgets. Services only decide, under the lock of the allowance's row. A proof recounts everything every night.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db import models
from django.db.models import F, Q

# Sums of many rows may outgrow 64 bits: these are numerics without decimals.
_WIDE: Final[dict[str, Any]] = {"max_digits": 40, "decimal_places": 0, "default": 0}


class Allowance(models.Model):
    """What an organization may spend in one currency: available = limit + prepaid - unpaid - held, in micros.

    limit     of its contract, or the settings' default
    prepaid   its wallet: deposits and grants that are left
    unpaid    charged and not paid
    held      for tasks that are not charged yet

    A trigger refuses to raise `held` beyond what is available. Charges are never refused: what was used is owed, so
    `available` may fall below zero by charges, never by holds. The row is the lock under which holds and budgets of the
    organization move.
    """

    organization = models.ForeignKey("Organization", models.PROTECT, related_name="allowances", db_index=False)
    currency = models.CharField(max_length=3)
    limit_micros = models.DecimalField(**_WIDE)
    prepaid_micros = models.DecimalField(**_WIDE)
    unpaid_micros = models.DecimalField(**_WIDE, help_text="charged and not paid; negative: paid too much")
    held_micros = models.DecimalField(**_WIDE)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["organization", "currency"], name="allowance_once"),
            models.CheckConstraint(condition=Q(limit_micros__gte=0, held_micros__gte=0), name="allowance_not_negative"),
            models.CheckConstraint(condition=Q(prepaid_micros__gte=0), name="wallet_not_overdrawn"),
        ]

    def __str__(self) -> str:
        return f"{self.organization_id}: {self.available_micros} micros of {self.currency}"

    @property
    def available_micros(self) -> int:
        """What may still be held."""
        return int(self.limit_micros + self.prepaid_micros - self.unpaid_micros - self.held_micros)


class Hold(models.Model):
    """What is set aside for a task from its submit until it is charged. One per task; resolved once.

        HELD ──► CAPTURED    the task was charged; what is left of the hold is free again
          └────► RELEASED    it cost nothing

    While it is held, `amount` may grow with the task, and charges are captured from it chunk by chunk. What is charged over
    the hold is owed like everything else. `captured <= amount`, and a trigger keeps the arrows.
    """

    class State(models.TextChoices):
        HELD = "held"
        CAPTURED = "captured"
        RELEASED = "released"

    class By(models.TextChoices):
        ESTIMATE = "estimate", "nine of ten such tasks cost no more"
        PRICE_CAP = "price_cap", "the task's own price cap"
        MINIMUM = "minimum", "nothing is known: the settings' least hold"
        COST = "cost", "grown with what the task cost so far"

    MOVES: Final = {"held": {"captured", "released"}, "captured": set(), "released": set()}

    task = models.OneToOneField("Task", models.PROTECT, primary_key=True, related_name="hold")
    organization = models.ForeignKey("Organization", models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    amount_micros = models.BigIntegerField()
    captured_micros = models.BigIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.HELD)
    by = models.CharField(max_length=9, choices=By.choices, help_text="what the amount follows from")
    held_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(captured_micros__gte=0, captured_micros__lte=F("amount_micros")),
                name="hold_captures_no_more_than_it_has",
            ),
            models.CheckConstraint(
                condition=Q(state="held", resolved_at__isnull=True) | ~Q(state="held") & Q(resolved_at__isnull=False),
                name="hold_resolved_at_iff_resolved",
            ),
            models.CheckConstraint(
                condition=~Q(state="released") | Q(captured_micros=0), name="hold_released_captured_nothing"
            ),
        ]
        indexes: ClassVar = [
            # the owner's list of holds, and the proof
            models.Index(fields=["organization", "task"], condition=Q(state="held"), name="hold_open"),
            models.Index(fields=["organization", "-task"], name="hold_pages"),
        ]

    def __str__(self) -> str:
        return f"{self.amount_micros} micros for task {self.task_id}"


class SpendBlock(models.Model):
    """An organization that may hand in nothing more until a reason is gone, for example an invoice long overdue.

    One open block per organization and reason. What runs goes on, and results are never withheld.
    """

    organization = models.ForeignKey("Organization", models.PROTECT, related_name="spend_blocks", db_index=False)
    reason = models.CharField(max_length=40)
    detail = models.CharField(max_length=300, blank=True, default="")
    blocked_at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["organization", "reason"], condition=Q(lifted_at__isnull=True), name="block_once_per_reason"
            )
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} is blocked: {self.reason}"


class TaskPause(models.Model):
    """A task that is placed nowhere for now: what runs of it goes on, nothing new begins. The placer reads these rows.

    source   who paused it: `credit`, or `budget/<id>`; a task is placed again when no source is left
    """

    task = models.ForeignKey("Task", models.CASCADE, related_name="pauses", db_index=False)
    source = models.CharField(max_length=40)
    detail = models.CharField(max_length=300)
    paused_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["task", "source"], name="pause_once_per_source")]

    def __str__(self) -> str:
        return f"{self.task_id}: {self.source}"


class CreditAlarm(models.Model):
    """A sum that is not what its facts add up to: what stands there and what was counted. Nothing is repaired."""

    what = models.CharField(max_length=60, help_text="<table>/<id>/<column>")
    organization = models.ForeignKey("Organization", models.PROTECT, related_name="+")
    stands = models.DecimalField(max_digits=40, decimal_places=0)
    counted = models.DecimalField(max_digits=40, decimal_places=0)
    raised_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["what", "stands", "counted"], name="credit_alarm_once")
        ]

    def __str__(self) -> str:
        return f"{self.what}: {self.stands} instead of {self.counted}"
