"""What an organization and the platform have agreed on. Dated versions that never overlap and never change."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import Func, Q


class Contract(models.Model):
    """One version of an organization's terms, in force for `valid`; without one the settings' defaults hold.

    A version is never edited: the next one ends it, by moving the end of `valid`, the only column that may change
    (a trigger refuses the rest). Charges, holds and invoices keep the number of the version that they were made under.

    zone                    IANA; whose days and months are billed
    currency                of the credit limit; invoices are per currency of what was charged
    grace_days              a month's invoice stays a draft for so long, for late usage
    due_days                from an invoice's issue to its being overdue
    credit_limit_micros     the most that may be owed and held at once; NULL: the settings' default
    platform_basis_points   the platform's share of what is charged; NULL: the settings' default
    carries_remainder       what is below a minor unit goes to the next invoice; if not, a line of the invoice drops it
    """

    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="contracts", db_index=False)
    valid = DateTimeRangeField(help_text="[from, to)")
    zone = models.CharField(max_length=50)
    currency = models.CharField(max_length=3)
    grace_days = models.PositiveSmallIntegerField()
    due_days = models.PositiveSmallIntegerField()
    credit_limit_micros = models.BigIntegerField(null=True, blank=True)
    platform_basis_points = models.PositiveSmallIntegerField(null=True, blank=True)
    carries_remainder = models.BooleanField(default=True)
    note = models.CharField(max_length=300, blank=True, default="")
    signed_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            # a scalar needs no btree_gist when it is written as a one-element range
            ExclusionConstraint(
                name="contracts_do_not_overlap",
                expressions=[
                    (Func("organization_id", "organization_id", models.Value("[]"), function="int8range"), "&&"),
                    ("valid", "&&"),
                ],
            ),
            models.CheckConstraint(condition=Q(valid__isempty=False, valid__lower_inf=False), name="contract_begins"),
            models.CheckConstraint(
                condition=Q(credit_limit_micros__isnull=True) | Q(credit_limit_micros__gte=0), name="contract_limit_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(platform_basis_points__isnull=True) | Q(platform_basis_points__lte=10_000),
                name="contract_share_is_a_part",
            ),
            models.CheckConstraint(condition=Q(grace_days__lte=31, due_days__lte=365), name="contract_days_are_sane"),
        ]

    def __str__(self) -> str:
        return f"contract {self.pk} of {self.organization_id}"
