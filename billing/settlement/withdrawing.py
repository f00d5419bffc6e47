"""Payouts that wait are withdrawn when a payment is reversed: what an invoice paid for is not due while it is owed again.

Runs and withdrawals keep each other out by the advisory lock of runs (`wait_for_runs`): a share of such an invoice is in a
payout already, and the payout is cancelled, or every later run finds its invoice unpaid. Senders and withdrawals meet at the
payout's row: it is sent or it is cancelled. What was sent before is the platform's risk (docs/billing/settlement.md).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection

from billing.settlement.payouts import GATHER_LOCK
from billing.settlement.states import sources

REASON: Final = "a payment of what it pays for was reversed"
_WITHDRAW: Final = """
WITH line AS MATERIALIZED (
  SELECT id FROM billing_invoiceline WHERE invoice_id = ANY(%(invoices)s)
), share AS (
  SELECT charge_id * 2 AS share FROM billing_invoicedcharge WHERE line_id IN (SELECT id FROM line)
  UNION ALL
  SELECT charge_id * 2 + 1 FROM billing_invoicedcharge WHERE line_id IN (SELECT id FROM line)
  UNION ALL
  SELECT -charge_id FROM billing_invoicedperiod WHERE line_id IN (SELECT id FROM line)
), waiting AS (
  SELECT id FROM billing_payout
   WHERE state = ANY(%(states)s)
     AND id IN (SELECT payout_id FROM billing_payoutline taken JOIN share USING (share) WHERE taken.amount_micros > 0)
   ORDER BY id FOR UPDATE
)
UPDATE billing_payout SET state = 'cancelled', reason = %(reason)s, ended_at = %(now)s WHERE id IN (SELECT id FROM waiting)
RETURNING id
"""


def wait_for_runs() -> None:
    """Let no run of payouts begin until the end of this transaction. Before every other lock of the caller's."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [GATHER_LOCK])


def withdraw_payouts(invoices: Collection[int], at: datetime) -> list[int]:
    """Cancel what is not sent yet and pays shares of charges on these invoices. Returns the payouts' numbers, ascending.

    All of a payout is cancelled, as it says for ever what it pays; the next run gathers anew what else was in it. One statement.
    Where payees do not wait for customers (settings.PAYOUT_GUARANTEED) nothing is withdrawn. Needs `wait_for_runs` before.
    """
    if not invoices or settings.PAYOUT_GUARANTEED:
        return []
    given: dict[str, Any] = {"invoices": sorted(invoices), "states": sources("cancelled"), "reason": REASON, "now": at}
    with connection.cursor() as cursor:
        cursor.execute(_WITHDRAW, given)
        return sorted(payout for (payout,) in cursor.fetchall())
