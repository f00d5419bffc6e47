"""The ladder that an unpaid invoice climbs: what is done so many days after it was due. Each step once per invoice.

    D+0 reminder   D+7 warning   D+14 block: no new tasks   D+30 propose: an operator may give it up

Results of finished tasks are never withheld, on no step: nothing here touches them. What is disputed is not asked for: an
invoice of which nothing else is open climbs no further, and its days count again from the last decision about it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from billing.telling import tell_invoices
from marketplace.models import SpendBlock
from marketplace.services.credit import block_organizations, unblock_organizations


class Step(NamedTuple):
    """A step of the ladder: days after the invoice was due, and what is done."""

    level: int
    days: int
    action: str


LADDER: Final = (Step(1, 0, "reminder"), Step(2, 7, "warning"), Step(3, 14, "block"), Step(4, 30, "propose_giving_up"))

# What of each unpaid invoice nobody disputes, with its tax, and since when it is asked for: due_at, or the last decision.
_ASKED: Final = """
SELECT invoice.id, greatest(due_at, disputed.ended_at) AS due_at,
       total_micros - paid_micros - credited_micros
         - ceil(coalesce(disputed.micros, 0) / minor_micros)::bigint * minor_micros AS micros
  FROM billing_invoice invoice
  LEFT JOIN LATERAL (
       SELECT max(dispute.ended_at) AS ended_at,
              sum(item.micros * (1 + line.tax_micros / line.amount_micros::numeric)) FILTER (WHERE item.state = 'open') AS micros
         FROM billing_invoiceline line
        CROSS JOIN LATERAL (
              SELECT item.* FROM billing_invoicedcharge invoiced
                JOIN billing_disputedcharge item ON item.charge_id = invoiced.charge_id WHERE invoiced.line_id = line.id
              UNION ALL
              SELECT item.* FROM billing_invoicedperiod invoiced
                JOIN billing_disputedcharge item ON item.period_charge_id = invoiced.charge_id
               WHERE invoiced.line_id = line.id) item
         JOIN billing_dispute dispute ON dispute.id = item.dispute_id
        WHERE line.invoice_id = invoice.id AND line.amount_micros > 0) disputed
    ON EXISTS (SELECT FROM billing_dispute dispute WHERE dispute.organization_id = invoice.organization_id)
 WHERE invoice.state IN ('finalized', 'overdue')"""
_OVERDUE: Final = f"""
WITH asked AS ({_ASKED}), late AS (
  SELECT invoice.id FROM billing_invoice invoice JOIN asked ON asked.id = invoice.id
   WHERE invoice.state = 'finalized' AND invoice.due_at <= %(now)s AND asked.due_at <= %(now)s AND asked.micros > 0
   ORDER BY invoice.due_at, invoice.id FOR UPDATE OF invoice SKIP LOCKED
)
UPDATE billing_invoice invoice SET state = 'overdue' FROM late WHERE invoice.id = late.id RETURNING invoice.id
"""
_NOTICES: Final = f"""
WITH asked AS ({_ASKED})
INSERT INTO billing_dunningnotice (invoice_id, level, action, owed_micros, noticed_at)
SELECT invoice.id, step.level, step.action, asked.micros, %(now)s
  FROM billing_invoice invoice JOIN asked ON asked.id = invoice.id
  JOIN unnest(%(levels)s::int[], %(days)s::int[], %(actions)s::text[]) AS step (level, days, action)
    ON asked.due_at + make_interval(days => step.days) <= %(now)s
 WHERE invoice.state = 'overdue' AND invoice.due_at <= %(now)s AND asked.micros > 0
 ORDER BY invoice.id, step.level
ON CONFLICT DO NOTHING
"""
_BLOCKING: Final = f"""
WITH asked AS ({_ASKED})
SELECT DISTINCT invoice.organization_id FROM billing_dunningnotice notice
  JOIN billing_invoice invoice ON invoice.id = notice.invoice_id JOIN asked ON asked.id = invoice.id
 WHERE notice.action = 'block' AND invoice.state = 'overdue' AND asked.micros > 0
"""
BLOCK: Final = "dunning"  # why an organization is blocked


def climb(now: datetime | None = None) -> int:
    """Invoices past their day are overdue, and get the notices that are due. A constant number of statements.

    Nobody is waited for: an invoice that somebody holds is perhaps being paid just now, and is looked at by the next climb.

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
    """Organizations that may start no new tasks: one of their invoices has reached the step `block` and is still not paid.

    One of which nothing is open but what they dispute does not block them.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BLOCKING)
        return {organization for (organization,) in cursor.fetchall()}


def follow_blocks() -> tuple[set[int], set[int]]:
    """Let those hand in nothing new whose invoice has come to that step, and free those who have paid since.

    Returns who is blocked and who is free now. Finished results are never withheld, what runs goes on.
    """
    wanted = to_be_blocked()
    held = SpendBlock.objects.filter(reason=BLOCK, lifted_at=None).values_list("organization", flat=True)
    freed = unblock_organizations(set(held) - wanted, BLOCK)
    return block_organizations(wanted, BLOCK, "an invoice is long overdue"), freed
