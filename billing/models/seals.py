"""Proof that the journal is what it was: seals over blocks of entries, each chained to the one before.

    entry (posted) -> SealedEntry (its place and digest) -> LedgerSeal (root of its block, hash of the chain)

`billing/ledger/` computes them; the bytes that are hashed are written down in docs/billing/ledger.md.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.journal import Account, JournalEntry


class LedgerSeal(models.Model):
    """One block of the ledger. Never changed; a trigger lets a seal follow the last one only.

    number            1, 2, 3 ... without a gap
    first, last       the places of its entries, following the last seal's
    entries, legs     how many there are; `balances`: how many accounts they touched
    horizon           transactions below it had ended when the block was taken (PostgreSQL's xid8)
    salt              32 random bytes that blind the legs of others in an organization's proof; for operators
    previous, hash    of the chain, `root` is that of the block's Merkle tree; 32 bytes each, SHA-256
    """

    number = models.BigIntegerField(primary_key=True)
    first = models.BigIntegerField()
    last = models.BigIntegerField()
    entries = models.IntegerField()
    legs = models.IntegerField()
    balances = models.IntegerField()
    horizon = models.DecimalField(max_digits=20, decimal_places=0)
    salt = models.BinaryField(max_length=32)
    previous = models.BinaryField(max_length=32, unique=True)
    root = models.BinaryField(max_length=32)
    hash = models.BinaryField(max_length=32)
    sealed_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(entries__gt=0, first__gt=0, number__gt=0, last=F("first") + F("entries") - 1),
                name="seal_counts_its_entries",
            )
        ]

    def __str__(self) -> str:
        return f"seal {self.number}"


class SealedEntry(models.Model):
    """An entry's place in the ledger, counted from 1 without a gap, and the digest that its seal was made from.

    No foreign keys in PostgreSQL: neither entries nor seals can go away, and a check per row would double the cost.
    """

    position = models.BigIntegerField(primary_key=True)
    entry = models.OneToOneField(JournalEntry, models.PROTECT, related_name="sealed", db_constraint=False)
    seal = models.ForeignKey(LedgerSeal, models.PROTECT, related_name="+", db_index=False, db_constraint=False)
    digest = models.BinaryField(max_length=32)

    class Meta:
        verbose_name_plural = "sealed entries"

    def __str__(self) -> str:
        return f"place {self.position}"


class AccountBalance(models.Model):
    """What an account had been debited and credited in all, up to a seal that touched it: a cache that seals commit to.

    It can be rebuilt from the sealed blocks, and is compared with them every night; its rows never change. Sums may
    grow beyond 64 bits.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="balances", db_index=False)
    seal = models.ForeignKey(LedgerSeal, models.PROTECT, related_name="+", db_constraint=False)
    debit_micros = models.DecimalField(max_digits=40, decimal_places=0)
    credit_micros = models.DecimalField(max_digits=40, decimal_places=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["account", "seal"], name="balance_once_per_seal"),
            models.CheckConstraint(
                condition=Q(debit_micros__gte=0, credit_micros__gte=0), name="balance_sums_are_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} up to seal {self.seal_id}"


class LedgerAlarm(models.Model):
    """A proof that failed: what stands there, and what was proved instead. For a person to look at; nothing is repaired.

    kind balance   the cached sums of an account up to a seal are not those of its legs
    kind block     a sealed block has another root now: one of its entries is not what it was
    kind chain     a seal's hash is not that of what it says, or does not follow the one before
    """

    class Kind(models.TextChoices):
        BALANCE = "balance"
        BLOCK = "block"
        CHAIN = "chain"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    seal = models.ForeignKey(LedgerSeal, models.PROTECT, related_name="+", db_constraint=False)
    account = models.ForeignKey(Account, models.PROTECT, null=True, related_name="+")
    stands = models.CharField(max_length=200)
    proved = models.CharField(max_length=200)
    raised_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "seal", "account", "stands", "proved"], name="alarm_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of seal {self.seal_id}"
