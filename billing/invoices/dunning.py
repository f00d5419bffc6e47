"""The ladder that an unpaid invoice climbs: what is done so many days after it was due. Each step once per invoice.

    D+0 reminder   D+7 warning   D+14 block: no new tasks   D+30 propose: an operator may give it up

Results of finished tasks are never withheld, on no step: nothing here touches them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from billing.models import DunningNotice
from billing.telling import tell_invoices
from marketplace.models import SpendBlock
from marketplace.services.credit import block_organizations, unblock_organizations


class Step(NamedTuple):
    """A step of the ladder: days after the invoice was due, and what is done."""

    level: int
    days: int
    action: str


LADDER: Final = (Step(1, 0, "reminder"), Step(2, 7, "warning"), Step(3, 14, "block"), Step(4, 30, "propose_giving_up"))

_OVERDUE: Final = "UPDATE billing_invoice SET state = 'overdue' WHERE state = 'finalized' AND due_at <= %(now)s RETURNING id"
_NOTICES: Final = """
INSERT INTO billing_dunningnotice (invoice_id, level, action, owed_micros, noticed_at)
SELECT invoice.id, step.level, step.action, total_micros - paid_micros - credited_micros, %(now)s
  FROM billing_invoice invoice
  JOIN unnest(%(levels)s::int[], %(days)s::int[], %(actions)s::text[]) AS step (level, days, action)
    ON due_at + make_interval(days => step.days) <= %(now)s
 WHERE invoice.state = 'overdue'
 ORDER BY invoice.id, step.level
ON CONFLICT DO NOTHING
"""
BLOCK: Final = "dunning"  # why an organization is blocked


def climb(now: datetime | None = None) -> int:
    """Invoices past their day are overdue, and get the notices that are due. A constant number of statements.

    Returns how many notices were written. A notice that was missed is made up for; none is written twice.
    """
    levels, days, actions = (list(column) for column in zip(*LADDER, strict=True))
    at = now or timezone.now()
    arguments: dict[str, Any] = {"now": at, "levels": levels, "days": days, "actions": actions}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_OVERDUE, arguments)
        tell_invoices([invoice for (invoice,) in cursor.fetchall()], "overdue", at)
        cursor.execute(_NOTICES, arguments)
        return int(cursor.rowcount)


def to_be_blocked() -> set[int]:
    """Organizations that may start no new tasks: one of their invoices has reached the step `block` and is still not paid."""
    rows = DunningNotice.objects.filter(action="block", invoice__state="overdue")
    return set(rows.values_list("invoice__organization", flat=True))


def follow_blocks() -> tuple[set[int], set[int]]:
    """Let those hand in nothing new whose invoice has come to that step, and free those who have paid since.

    Returns who is blocked and who is free now. Finished results are never withheld, what runs goes on.
    """
    wanted = to_be_blocked()
    held = SpendBlock.objects.filter(reason=BLOCK, lifted_at=None).values_list("organization", flat=True)
    freed = unblock_organizations(set(held) - wanted, BLOCK)
    return block_organizations(wanted, BLOCK, "an invoice is long overdue"), freed
