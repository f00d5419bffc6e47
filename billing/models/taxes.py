"""Taxes: their rates through time, and who is asked for them. Dated versions that do not overlap."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import Func, Q, Value
from django.db.models.functions import Coalesce

from billing.models.ranges import alone


class Tax(models.Model):
    """A kind of tax: `vat` "增值税"."""

    code = models.SlugField(max_length=20, unique=True)
    name = models.CharField(max_length=60)

    class Meta:
        verbose_name_plural = "taxes"

    def __str__(self) -> str:
        return self.code


def _word(column: str) -> Func:
    """A word as a range of its hash: what is the same overlaps, what differs does not."""
    hashed = Func(column, function="hashtext")
    return Func(hashed, hashed, Value("[]"), function="int4range")


class TaxRate(models.Model):
    """How much a tax is from a moment on, for customers of a category; in a region, or everywhere that has no rate of its own.

    An invoice takes the rate at the end of its month. Never changed: a new one ends the one before it.
    """

    tax = models.ForeignKey(Tax, models.PROTECT, related_name="rates", db_index=False)
    category = models.SlugField(max_length=20, default="standard", db_index=False, help_text="standard, small, exempt ...")
    region = models.ForeignKey(
        "marketplace.Region", models.PROTECT, null=True, blank=True, related_name="+", db_index=False, help_text="none: everywhere"
    )
    percent = models.DecimalField(max_digits=7, decimal_places=4)
    valid = DateTimeRangeField(help_text="[from, to)")

    class Meta:
        constraints: ClassVar = [
            ExclusionConstraint(name="tax_rates_do_not_overlap", expressions=[
                (alone("tax_id"), "&&"), (_word("category"), "&&"), (alone(Coalesce("region_id", 0)), "&&"), ("valid", "&&"),
            ]),
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100, valid__isempty=False), name="tax_rate_is_a_part"),
        ]

    def __str__(self) -> str:
        return f"{self.percent} %"


class TaxAssignment(models.Model):
    """An organization is asked for a tax at its category's rate, for as long as this is valid."""

    tax = models.ForeignKey(Tax, models.PROTECT, related_name="assignments", db_index=False)
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    category = models.SlugField(max_length=20, default="standard", db_index=False, help_text="whose rate it is asked for")
    valid = DateTimeRangeField(help_text="[from, to)")

    class Meta:
        constraints: ClassVar = [
            ExclusionConstraint(
                name="tax_assignments_do_not_overlap",
                expressions=[(alone("organization_id"), "&&"), (alone("tax_id"), "&&"), ("valid", "&&")],
            ),
            models.CheckConstraint(condition=Q(valid__isempty=False), name="tax_assignment_lasts"),
        ]

    def __str__(self) -> str:
        return f"{self.tax_id} of {self.organization_id}"
