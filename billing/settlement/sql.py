"""The statements of settlement. Each works on any number of payees; amounts are micro-units."""

from __future__ import annotations

from typing import Final

_SHARES: Final = """
  SELECT id * 2 AS share, id AS charge_id, NULL::bigint AS period_id, NULL::bigint AS release_id, false AS over,
         'provider' AS role, provider_id AS payee_id, provider_micros AS micros, currency, payer, charged_at,
         NULL::bigint AS back_of
    FROM billing_charge WHERE provider_micros <> 0
  UNION ALL
  SELECT id * 2 + 1, id, NULL, NULL, false, 'publisher', publisher_id, publisher_micros, currency, payer, charged_at, NULL
    FROM billing_charge WHERE publisher_micros <> 0
  UNION ALL
  SELECT -id, NULL, id, NULL, false, CASE WHEN provider_id IS NULL THEN 'publisher' ELSE 'provider' END,
         coalesce(provider_id, publisher_id), provider_micros + publisher_micros, currency, payer, rated_at, refunds_id
    FROM billing_periodcharge WHERE provider_micros + publisher_micros <> 0
  UNION ALL
  SELECT -4000000000000000000 - freed.id * 2 - 1, NULL, NULL, freed.id, freed.kind = 'released', 'provider', organization_id,
         freed.amount_micros, currency, 'platform', released_at, NULL
    FROM billing_reserverelease freed JOIN billing_withholding held ON held.id = freed.withholding_id"""

# A month's share is the provider's or the publisher's, never both's (a CHECK).
# `over`: the days of a withholding were over; nothing is kept back of it again.
# A share with its payout, if any, and its invoice once that is paid; what a dispute took back of a charge (back, back_of) goes by
# the invoice of that charge.
_STANDS: Final = f"""
          FROM ({_SHARES}) share
          LEFT JOIN billing_payoutline taken ON taken.share = share.share
          LEFT JOIN billing_payout payout ON payout.id = taken.payout_id
          LEFT JOIN billing_disputedcharge back ON back.refund_id = share.charge_id
          LEFT JOIN billing_invoicedcharge invoiced ON invoiced.charge_id = coalesce(back.charge_id, share.charge_id)
          LEFT JOIN billing_invoicedperiod month ON month.charge_id = coalesce(share.back_of, share.period_id)
          LEFT JOIN billing_invoiceline line ON line.id = coalesce(invoiced.line_id, month.line_id)
          LEFT JOIN billing_invoice invoice ON invoice.id = line.invoice_id AND invoice.state = 'paid'
         CROSS JOIN LATERAL (
               SELECT EXISTS (SELECT FROM billing_disputedcharge item
                               WHERE item.charge_id = share.charge_id AND item.state = 'open')
                      OR EXISTS (SELECT FROM billing_disputedcharge item
                                  WHERE item.period_charge_id = share.period_id AND item.state = 'open') AS disputed,
                      CASE WHEN share.release_id IS NOT NULL THEN share.charged_at
                           WHEN share.micros < 0 AND (coalesce(back.id, share.back_of) IS NULL OR %(guaranteed)s)
                           THEN share.charged_at
                           WHEN share.payer = 'platform' AND coalesce(back.id, share.back_of) IS NULL OR %(guaranteed)s
                           THEN share.charged_at + %(hold)s
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
         WHERE share.role = %(role)s AND share.payee_id = %(payee)s AND share.release_id IS NULL
           AND share.charged_at >= %(start)s AND share.charged_at < %(end)s) stands
 GROUP BY state, currency
"""

# What earlier payouts left over: what they were too small by. Cancelled ones do not count, as their lines come back whole.
_LEFT_OVER: Final = """(SELECT coalesce(sum(exact_micros - amount_micros), 0) FROM billing_payout earlier
                         WHERE earlier.organization_id = payee_id AND earlier.currency = due.currency
                           AND earlier.state <> 'cancelled')"""

# One statement, so that lines and sums come from one snapshot. What is kept back is a part of what is owed without what was
# released, in whole minor units. A sum that the ledger cannot hold waits for an operator.
GATHER: Final = f"""
WITH due AS MATERIALIZED ({DUE}
), owing AS (
  SELECT payee_id, due.currency, minor, sum(micros) AS exact, count(*) AS lines, sum(micros) + {_LEFT_OVER} AS owed,
         coalesce(sum(micros) FILTER (WHERE over), 0) AS released
    FROM due JOIN unnest(%(currencies)s::text[], %(minors)s::int[]) AS unit (currency, minor) ON unit.currency = due.currency
   GROUP BY payee_id, due.currency, minor
), total AS (
  SELECT owing.*, base, points, days, part - part %% minor AS kept
    FROM owing
    LEFT JOIN LATERAL (SELECT basis_points, days AS agreed_days FROM billing_reserveterms
                        WHERE organization_id = payee_id AND starts_at <= %(as_of)s
                        ORDER BY starts_at DESC LIMIT 1) terms ON true
   CROSS JOIN LATERAL (SELECT greatest(owed - released, 0) AS base, coalesce(basis_points, %(points)s) AS points,
                              coalesce(agreed_days, %(days)s) AS days) agreed
   CROSS JOIN LATERAL (SELECT div(base * points, 10000) AS part) parts
), payout AS (
  INSERT INTO billing_payout (run_id, organization_id, currency, minor_micros, exact_micros, amount_micros, lines_count, state,
                              attempts_count, reason)
  SELECT %(run)s, payee_id, currency, minor, exact - kept, owed - kept - owed %% minor, lines + (kept > 0)::int, 'draft', 0, ''
    FROM total
   WHERE owed - kept >= greatest(minor, %(minimum)s) AND owed < 9223372036854775807 AND exact < 9223372036854775807
   ORDER BY payee_id, currency
  RETURNING id, organization_id, currency
), withheld AS (
  INSERT INTO billing_withholding (payout_id, organization_id, currency, base_micros, basis_points, amount_micros, withheld_at,
                                   release_at)
  SELECT payout.id, payee_id, total.currency, base, points, kept, %(as_of)s, %(as_of)s + days * interval '24 hours'
    FROM total JOIN payout ON payout.organization_id = payee_id AND payout.currency = total.currency
   WHERE kept > 0
   ORDER BY payout.id
  RETURNING id, payout_id, amount_micros
), line AS (
  INSERT INTO billing_payoutline (share, charge_id, period_charge_id, withholding_id, release_id, role, payout_id, amount_micros)
  SELECT share, charge_id, period_id, NULL::bigint, release_id, role, payout.id, micros
    FROM due JOIN payout ON payout.organization_id = due.payee_id AND payout.currency = due.currency
   UNION ALL
  SELECT -4000000000000000000 - id * 2, NULL, NULL, id, NULL, 'reserve', payout_id, -amount_micros FROM withheld
   ORDER BY 1
  ON CONFLICT (share) DO UPDATE SET payout_id = excluded.payout_id
)
SELECT count(*) FROM payout
"""

# What is held of each withholding whose payout is paid.
_HELD: Final = """
  SELECT withheld.id, withheld.organization_id, withheld.currency, withheld.release_at, gone.micros AS gone,
         withheld.amount_micros - gone.micros AS left_micros
    FROM billing_withholding withheld JOIN billing_payout payout ON payout.id = withheld.payout_id AND payout.state = 'paid'
   CROSS JOIN LATERAL (SELECT coalesce(sum(amount_micros), 0) AS micros FROM billing_reserverelease
                        WHERE withholding_id = withheld.id) gone
   WHERE gone.micros < withheld.amount_micros"""

# Withholdings whose days are over: what is left of each.
OVER: Final = f"""
SELECT id, organization_id, currency, gone::bigint, left_micros::bigint FROM ({_HELD}) held
 WHERE release_at <= %(as_of)s ORDER BY id
"""

# What payees who owe draw of their reserves, those that would be released first first.
DRAWN: Final = f"""
WITH held AS MATERIALIZED ({_HELD}
), due AS MATERIALIZED (
  SELECT * FROM ({DUE}) due WHERE payee_id IN (SELECT organization_id FROM held)
), owing AS (
  SELECT payee_id, due.currency, sum(micros) + {_LEFT_OVER} AS owed FROM due GROUP BY payee_id, due.currency
), ordered AS (
  SELECT held.*, -owed AS need,
         sum(left_micros) OVER (PARTITION BY organization_id, held.currency ORDER BY release_at, id) - left_micros AS before
    FROM held JOIN owing ON payee_id = organization_id AND owing.currency = held.currency AND owed < 0
)
SELECT id, organization_id, currency, gone::bigint, least(left_micros, need - before)::bigint FROM ordered
 WHERE before < need ORDER BY id
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
