"""Legs for entries of invoices and payments: any number of them in two statements."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction

from billing.invoices.sql import ACCOUNTS_OF_SIDES, LEGS
from billing.models import JournalEntry


class Side(NamedTuple):
    """A leg to be: debit is positive. `organization` None: an account of the platform."""

    entry: int
    kind: str
    organization: int | None
    currency: str
    micros: int


def post_legs(sides: Iterable[Side]) -> None:
    """Write legs, without those of zero; accounts are made on demand."""
    rows = [side for side in sides if side.micros]
    if not rows:
        return
    entries, kinds, organizations, currencies, micros = (list(column) for column in zip(*rows, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(ACCOUNTS_OF_SIDES, [kinds, organizations, currencies])
        cursor.execute(LEGS, [entries, kinds, organizations, currencies, micros])


def post(key: str, kind: str, at: datetime, currency: str, sides: Iterable[tuple[str, int | None, int]]) -> JournalEntry:
    """One entry with its legs: (account's kind, organization, micros; debit positive)."""
    with transaction.atomic():
        entry = JournalEntry.objects.create(key=key, kind=kind, posted_at=at)
        post_legs(Side(entry.pk, account, organization, currency, micros) for account, organization, micros in sides)
    return entry
