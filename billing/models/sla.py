"""What providers promise, how it was kept, and what broken promises gave back."""

from __future__ import annotations

from typing import ClassVar, Final

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Coalesce

from billing.models.charges import Charge
from billing.models.ranges import alone

_NUMBER_OF_KIND: Final = Func("kind", function="length", output_field=models.IntegerField())  # 8 and 12


class SLATerms(models.Model):
    """A provider's promise for a pool: to one customer, or (none named) to everybody who has no terms of its own.

    kind deadline      the part of a day's tasks with a deadline that were delivered
    kind availability  the part of the time that cores were held by occupancy offers in which they were there
    steps              [[threshold, credit], ...] in basis points: below the threshold so much of the day's charges is given back
    minimum            how many tasks (deadline) or core seconds (availability) a day must have to be judged

    Never changed; ended only, by a later end of `valid`, so that what was promised for a day is what counts for it. Terms that
    have not begun may be withdrawn: the row stays, with who and when, promises nothing and leaves its place to others.
    """

    class Kind(models.TextChoices):
        DEADLINE = "deadline"
        AVAILABILITY = "availability"

    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, related_name="+", db_index=False)
    customer = models.ForeignKey(
        "marketplace.Organization", models.PROTECT, null=True, blank=True, related_name="+", db_index=False, help_text="none: all"
    )
    kind = models.CharField(max_length=12, choices=Kind.choices)
    steps = models.JSONField(help_text="[[threshold, credit], ...], basis points")
    minimum = models.BigIntegerField(default=1)
    valid = DateTimeRangeField(help_text="[from, to), whole days in UTC")
    made_at = models.DateTimeField()
    made_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    withdrawn_at = models.DateTimeField(null=True, blank=True, help_text="before they began")
    withdrawn_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    class Meta:
        verbose_name = "SLA terms"
        verbose_name_plural = "SLA terms"
        constraints: ClassVar = [
            ExclusionConstraint(name="sla_terms_do_not_overlap", condition=Q(withdrawn_at=None), expressions=[
                (alone("pool_id"), "&&"), (alone(Coalesce("customer_id", 0)), "&&"),
                (Func(_NUMBER_OF_KIND, _NUMBER_OF_KIND, Value("[]"), function="int4range"), "&&"), ("valid", "&&"),
            ]),
            models.CheckConstraint(
                condition=Q(kind__in=["deadline", "availability"], minimum__gt=0, valid__isempty=False, valid__lower_inf=False),
                name="sla_terms_make_sense",
            ),
            models.CheckConstraint(
                condition=Q(withdrawn_at=None, withdrawn_by=None)
                | Q(withdrawn_at__isnull=False, withdrawn_at__lt=F("valid__startswith")),
                name="sla_terms_withdrawn_before",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of pool {self.pool_id}"


class SLADay(models.Model):
    """A day (UTC) that was measured, for all terms in force. Never changed."""

    day = models.DateField(primary_key=True)
    measured_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.day}"


class SLAMeasurement(models.Model):
    """How terms were kept for a customer on a day. Never changed.

    good, total   tasks, or core milliseconds
    credit        basis points, by the terms' steps; what they come to is in `credits`, one for each task
    evidence      {terms, tasks missed or held ... (the first of them)}; digest: SHA-256 of its canonical bytes
    """

    terms = models.ForeignKey(SLATerms, models.PROTECT, related_name="measurements")
    day = models.DateField()
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    currency = models.CharField(max_length=3)
    good = models.BigIntegerField()
    total = models.BigIntegerField()
    credit_basis_points = models.IntegerField()
    covered_micros = models.BigIntegerField(help_text="what of it was charged and is not taken back")
    credit_micros = models.BigIntegerField()
    evidence = models.JSONField()
    digest = models.BinaryField(max_length=32)
    measured_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["terms", "day", "organization", "currency"], name="sla_measured_once"),
            models.CheckConstraint(condition=Q(good__gte=0, total__gte=F("good")), name="sla_good_is_a_part"),
            models.CheckConstraint(
                condition=Q(credit_basis_points__gte=0, credit_basis_points__lte=10_000, credit_micros__gte=0)
                & Q(credit_micros__lte=F("covered_micros")),
                name="sla_credit_is_at_most_all",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["organization", "id"], name="sla_of_organization")]

    def __str__(self) -> str:
        return f"{self.day}: {self.good} of {self.total}"


class SLACredit(models.Model):
    """What a measurement gives back of a task: a charge of kind `sla`, below zero, borne by the provider. Never changed."""

    measurement = models.ForeignKey(SLAMeasurement, models.PROTECT, related_name="credits", db_index=False)
    task = models.ForeignKey("marketplace.Task", models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    charge = models.OneToOneField(Charge, models.PROTECT, related_name="sla_credit", db_constraint=False)

    class Meta:
        verbose_name = "SLA credit"
        constraints: ClassVar = [models.UniqueConstraint(fields=["measurement", "task"], name="sla_credit_once")]

    def __str__(self) -> str:
        return f"charge {self.charge_id}"
