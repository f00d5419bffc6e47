"""The statements of settlement. Each works on any number of payees; amounts are micro-units."""

from __future__ import annotations

from typing import Final

_SHARES: Final = """
  SELECT id * 2 AS share, id AS charge_id, NULL::bigint AS period_id, 'provider' AS role, provider_id AS payee_id,
         provider_micros AS micros, currency, payer, charged_at
    FROM billing_charge WHERE provider_micros <> 0
  UNION ALL
  SELECT id * 2 + 1, id, NULL, 'publisher', publisher_id, publisher_micros, currency, payer, charged_at
    FROM billing_charge WHERE publisher_micros <> 0
  UNION ALL
  SELECT -id, NULL, id, 'provider', provider_id, provider_micros, currency, payer, rated_at
    FROM billing_periodcharge WHERE provider_micros <> 0"""

# A share with its payout, if any, and its invoice once that is paid; what a dispute took back of a charge (back) goes by the
# invoice of that charge.
_STANDS: Final = f"""
          FROM ({_SHARES}) share
          LEFT JOIN billing_payoutline taken ON taken.share = share.share
          LEFT JOIN billing_payout payout ON payout.id = taken.payout_id
          LEFT JOIN billing_disputedcharge back ON back.refund_id = share.charge_id
          LEFT JOIN billing_invoicedcharge invoiced ON invoiced.charge_id = coalesce(back.charge_id, share.charge_id)
          LEFT JOIN billing_invoicedperiod month ON month.charge_id = share.period_id
          LEFT JOIN billing_invoiceline line ON line.id = coalesce(invoiced.line_id, month.line_id)
          LEFT JOIN billing_invoice invoice ON invoice.id = line.invoice_id AND invoice.state = 'paid'
         CROSS JOIN LATERAL (
               SELECT EXISTS (SELECT FROM billing_disputedcharge item
                               WHERE item.charge_id = share.charge_id AND item.state = 'open') AS disputed,
                      CASE WHEN share.micros < 0 AND (back.id IS NULL OR %(guaranteed)s) THEN share.charged_at
                           WHEN share.payer = 'platform' AND back.id IS NULL OR %(guaranteed)s THEN share.charged_at + %(hold)s
                           ELSE invoice.ended_at + %(hold)s END AS at) due"""

# What may go out and does not yet: the same as payables.due_at.
DUE: Final = f"""
  SELECT share.* {_STANDS}
   WHERE (payout.id IS NULL OR payout.state = 'cancelled') AND NOT due.disputed AND due.at <= %(as_of)s"""

# A payee's shares of charges made in [start, end), by how they stand: the same as payables.standing.
STANDINGS: Final = f"""
SELECT state, currency, count(*), sum(micros)
  FROM (SELECT share.micros, share.currency,
               CASE WHEN payout.state = 'paid' THEN 'paid'
                    WHEN payout.state <> 'cancelled' THEN 'in_payout'
                    WHEN due.disputed THEN 'disputed'
                    WHEN due.at IS NULL THEN 'unpaid'
                    WHEN due.at <= %(now)s THEN 'due'
                    ELSE 'held_back' END AS state {_STANDS}
         WHERE share.role = %(role)s AND share.payee_id = %(payee)s
           AND share.charged_at >= %(start)s AND share.charged_at < %(end)s) stands
 GROUP BY state, currency
"""

# One statement, so that lines and sums come from one snapshot. What earlier payouts left over is what they were too small by:
# cancelled ones do not count, as their lines come back whole. A sum that the ledger cannot hold waits for an operator.
GATHER: Final = f"""
WITH due AS MATERIALIZED ({DUE}
), total AS (
  SELECT payee_id, due.currency, minor, sum(micros) AS exact, count(*) AS lines,
         sum(micros) + (SELECT coalesce(sum(exact_micros - amount_micros), 0) FROM billing_payout earlier
                         WHERE earlier.organization_id = payee_id AND earlier.currency = due.currency
                           AND earlier.state <> 'cancelled') AS owed
    FROM due JOIN unnest(%(currencies)s::text[], %(minors)s::int[]) AS unit (currency, minor) ON unit.currency = due.currency
   GROUP BY payee_id, due.currency, minor
), payout AS (
  INSERT INTO billing_payout (run_id, organization_id, currency, minor_micros, exact_micros, amount_micros, lines_count, state,
                              attempts_count, reason)
  SELECT %(run)s, payee_id, currency, minor, exact, owed - owed %% minor, lines, 'draft', 0, ''
    FROM total
   WHERE owed >= greatest(minor, %(minimum)s) AND owed < 9223372036854775807 AND exact < 9223372036854775807
   ORDER BY payee_id, currency
  RETURNING id, organization_id, currency
), line AS (
  INSERT INTO billing_payoutline (share, charge_id, period_charge_id, role, payout_id, amount_micros)
  SELECT share, charge_id, period_id, role, payout.id, micros
    FROM due JOIN payout ON payout.organization_id = due.payee_id AND payout.currency = due.currency
   ORDER BY share
  ON CONFLICT (share) DO UPDATE SET payout_id = excluded.payout_id
)
SELECT count(*) FROM payout
"""

BEGIN: Final = """
WITH begun AS (
  UPDATE billing_payout SET state = 'sent', attempts_count = attempts_count + 1, sent_at = %(now)s
   WHERE id IN (SELECT id FROM billing_payout WHERE state = 'approved' ORDER BY id FOR UPDATE SKIP LOCKED)
  RETURNING id, attempts_count
)
INSERT INTO billing_payoutattempt (payout_id, number, key, state, reference, reason, begun_at)
SELECT id, attempts_count, 'payout/' || id || '/' || attempts_count, 'sent', '', '', %(now)s FROM begun
"""
