"""Refunds of charges of months: revisions that go on from what stands, with each party's share of the difference.

Later ratings of the month keep them (`billing/periods/refunds.py`). Who rates months waits meanwhile, and two who would go on
from the same revision are told apart by its number, which there is once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from billing.disputes import sql
from billing.disputes.awards import Award
from billing.models import Dispute, JournalEntry
from billing.periods.posting import points_of
from billing.periods.reading import Payee
from billing.rating import share_change
from billing.services import Posting, post


class Stands(NamedTuple):
    """What a month comes to with all its revisions. A row of `sql.STANDS`, but for its charge."""

    base: int
    last: int
    revision: int
    total: int
    points: int
    payee: Payee


def _stands(base: int, last: int, revision: int, total: int, points: int, *payee: Any) -> Stands:
    return Stands(base, last, revision, total, points, Payee(*payee))


def refund_months(disputes: Mapping[int, Dispute], awards: Sequence[Award], at: datetime) -> dict[int, int]:
    """Write revisions below zero: item's key -> the revision. Months and accounts are locked by the caller."""
    if not awards:
        return {}
    keys = sorted({award.item.dispute for award in awards})
    made = JournalEntry.objects.bulk_create(
        JournalEntry(key=f"refund/{key}/months", kind="refund", memo=f"dispute {key}", posted_at=at) for key in keys
    )
    entries = dict(zip(keys, (entry.pk for entry in made), strict=True))
    rows = list(_rows(awards, entries))
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    with connection.cursor() as cursor:
        cursor.execute(sql.REFUND_MONTHS, columns | {"now": at})
        written = dict(cursor.fetchall())
    post(_posting(disputes[award.item.dispute], row) for award, row in zip(awards, rows, strict=True))
    return {award.item.id: written[award.item.month] for award in awards}


def _rows(awards: Sequence[Award], entries: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    """A revision for each award, in the order of the awards; those of one month go on from each other."""
    with connection.cursor() as cursor:
        cursor.execute(sql.STANDS, {"charges": [award.item.month for award in awards]})
        found = {charge: _stands(*rest) for charge, *rest in cursor.fetchall()}
    months = {stands.base: stands for stands in found.values()}
    for item, micros in awards:
        before = months[found[item.month or 0].base]
        after = before._replace(revision=before.revision + 1, total=before.total - micros)
        shares = share_change(before.total, after.total, points_of(before.payee, before.points))
        months[before.base] = after
        yield {
            "charge": item.month, "base": before.base, "last": before.last, "revision": after.revision, "total": after.total,
            "amount": -micros, "provided": shares[0], "published": shares[1], "platform": shares[2],
            "payer": "platform" if item.final else "user", "entry": entries[item.dispute],
        }  # fmt: skip


def _posting(dispute: Dispute, row: Mapping[str, Any]) -> Posting:
    parties = (dispute.organization_id, dispute.provider_id, dispute.publisher_id, dispute.currency, row["payer"])
    return Posting(row["entry"], *parties, 1, row["amount"], row["provided"], row["published"], row["platform"])
