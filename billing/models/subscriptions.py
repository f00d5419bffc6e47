"""Subscriptions: whose word a customer takes for what it used."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import Func


class Subscription(models.Model):
    """A customer has agreed to pay for what a pool reports of it, by the price lists then in force.

    Without one nobody could be charged: the platform has not seen this usage. It begins and ends by the customer's word,
    never in the past; what happened in between is paid for, however late it is reported.
    """

    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, related_name="+", db_index=False)
    pool = models.ForeignKey("marketplace.Pool", models.PROTECT, related_name="+")
    valid = DateTimeRangeField(help_text="[from, to)")
    begun_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, related_name="+", db_index=False)
    ended_by = models.ForeignKey("marketplace.User", models.PROTECT, null=True, blank=True, related_name="+", db_index=False)

    class Meta:
        constraints: ClassVar = [
            ExclusionConstraint(
                name="subscriptions_do_not_overlap",
                expressions=[
                    (Func("organization_id", "organization_id", models.Value("[]"), function="int8range"), "&&"),
                    (Func("pool_id", "pool_id", models.Value("[]"), function="int8range"), "&&"),
                    ("valid", "&&"),
                ],
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["organization", "pool"], name="subscription_of")]

    def __str__(self) -> str:
        return f"subscription {self.pk}"
