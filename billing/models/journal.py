"""The journal: accounts, balanced entries, and their legs. `migrations/sql/` holds the triggers that keep them so."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q


class Account(models.Model):
    """A place where money is counted. Debits raise receivables, remainders, costs, losses and the bank; credits the others.

    user_receivable    what a user owes                platform_cost         what the platform pays itself
    user_remainder     left to the next invoice        platform_rounding     what invoices drop, by contract
    user_prepaid       paid, and not owed yet          platform_cash         money that came in
    provider_payable   owed to a resource provider     platform_loss         what users will never pay
    publisher_payable  owed to a capability provider   platform_tax_payable  owed to the tax office
    platform_revenue   the platform's share
    user_grant         given, and not used yet         platform_promotion    what was given away
    provider_reserve   kept back of a payee's payouts
    """

    class Kind(models.TextChoices):
        USER_RECEIVABLE = "user_receivable"
        PROVIDER_PAYABLE = "provider_payable"
        PUBLISHER_PAYABLE = "publisher_payable"
        PLATFORM_REVENUE = "platform_revenue"
        PLATFORM_COST = "platform_cost"
        USER_REMAINDER = "user_remainder"
        USER_PREPAID = "user_prepaid"
        PLATFORM_ROUNDING = "platform_rounding"
        PLATFORM_LOSS = "platform_loss"
        PLATFORM_CASH = "platform_cash"
        PLATFORM_TAX_PAYABLE = "platform_tax_payable"
        USER_GRANT = "user_grant"
        PLATFORM_PROMOTION = "platform_promotion"
        PROVIDER_RESERVE = "provider_reserve"

    kind = models.CharField(max_length=20, choices=Kind.choices)
    organization = models.ForeignKey("marketplace.Organization", models.PROTECT, null=True, blank=True)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "organization", "currency"], name="account_once", nulls_distinct=False
            ),
            models.CheckConstraint(
                condition=Q(kind__startswith="platform_", organization__isnull=True)
                | ~Q(kind__startswith="platform_") & Q(organization__isnull=False),
                name="account_of_a_party_has_one",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}:{self.organization_id or 'platform'}:{self.currency}"


class JournalEntry(models.Model):
    """One balanced fact. `key` names its source, so that posting twice is impossible."""

    key = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=20)
    task = models.ForeignKey("marketplace.Task", models.PROTECT, null=True, blank=True)
    memo = models.CharField(max_length=200, blank=True)
    posted_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "journal entries"

    def __str__(self) -> str:
        return self.key


class Leg(models.Model):
    """One line of an entry: a debit or a credit, in micro-units of the account's currency."""

    entry = models.ForeignKey(JournalEntry, models.PROTECT, related_name="legs")
    account = models.ForeignKey(Account, models.PROTECT, related_name="legs")
    debit_micros = models.BigIntegerField(default=0)
    credit_micros = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(debit_micros__gt=0, credit_micros=0) | Q(debit_micros=0, credit_micros__gt=0),
                name="leg_is_debit_or_credit",
            )
        ]

    def __str__(self) -> str:
        return f"{self.account_id}: {self.debit_micros or -self.credit_micros} micros"
