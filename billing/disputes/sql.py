"""The statements of disputes. Each works on any number of charges; amounts are micro-units."""

from __future__ import annotations

from typing import Final

# What of each disputed charge can still be taken back: its amount, but together never more than corrections left of its attempt,
# nor, where a provider gave something back for its service level, than is left of the task.
LEFT: Final = """
WITH item AS MATERIALIZED (
  SELECT item.id, item.dispute_id, item.micros, charge.id AS charge_id, charge.task_id, charge.usage_id, usage.attempt_id,
         charge.provider_micros, charge.publisher_micros, charge.platform_micros
    FROM billing_disputedcharge item JOIN billing_charge charge ON charge.id = item.charge_id
    LEFT JOIN metering_usagerecord usage ON usage.id = charge.usage_id
   WHERE item.dispute_id = ANY(%(disputes)s) AND item.state = 'open'
), charged AS MATERIALIZED (
  SELECT usage.attempt_id, sum(charge.amount_micros) AS micros
    FROM billing_charge charge JOIN metering_usagerecord usage ON usage.id = charge.usage_id
   WHERE charge.task_id IN (SELECT task_id FROM item) GROUP BY usage.attempt_id
), credited AS MATERIALIZED (
  SELECT charge.task_id, sum(charge.amount_micros) FILTER (WHERE charge.payer = 'user' OR charge.kind = 'refund') AS micros
    FROM billing_charge charge WHERE charge.task_id IN (SELECT task_id FROM item)
   GROUP BY charge.task_id HAVING bool_or(charge.kind = 'sla')
)
SELECT item.id, item.dispute_id, item.charge_id, item.task_id, item.usage_id, item.provider_micros, item.publisher_micros,
       item.platform_micros,
       least(CASE WHEN credited.task_id IS NOT NULL THEN greatest(credited.micros - coalesce(sum(item.micros) OVER (
               PARTITION BY item.task_id ORDER BY item.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), 0) END,
       CASE WHEN item.attempt_id IS NULL THEN item.micros
            ELSE least(item.micros, greatest(charged.micros - coalesce(sum(item.micros) OVER (
                   PARTITION BY item.attempt_id ORDER BY item.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), 0))
       END)::bigint,
       line.id, invoice.id, invoice.number IS NOT NULL, NULL::bigint
  FROM item LEFT JOIN charged ON charged.attempt_id = item.attempt_id
  LEFT JOIN credited ON credited.task_id = item.task_id
  LEFT JOIN billing_invoicedcharge invoiced ON invoiced.charge_id = item.charge_id
  LEFT JOIN billing_invoiceline line ON line.id = invoiced.line_id
  LEFT JOIN billing_invoice invoice ON invoice.id = line.invoice_id
 ORDER BY item.dispute_id, item.id
"""

# The same of months: its amount, but together never more than what the month still comes to with all its revisions.
LEFT_OF_MONTHS: Final = """
WITH item AS MATERIALIZED (
  SELECT item.id, item.dispute_id, item.micros, charge.id AS charge_id, coalesce(charge.base_id, charge.id) AS base_id,
         charge.provider_micros, charge.publisher_micros, charge.platform_micros
    FROM billing_disputedcharge item JOIN billing_periodcharge charge ON charge.id = item.period_charge_id
   WHERE item.dispute_id = ANY(%(disputes)s) AND item.state = 'open'
)
SELECT item.id, item.dispute_id, NULL::bigint, NULL::uuid, NULL::bigint, item.provider_micros, item.publisher_micros,
       item.platform_micros,
       least(item.micros, greatest(last.total_micros - coalesce(sum(item.micros) OVER (
         PARTITION BY item.base_id ORDER BY item.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0), 0))::bigint,
       line.id, invoice.id, invoice.number IS NOT NULL, item.charge_id
  FROM item
 CROSS JOIN LATERAL (SELECT total_micros FROM billing_periodcharge month
                      WHERE month.id = item.base_id OR month.base_id = item.base_id
                      ORDER BY revision DESC LIMIT 1) last
  LEFT JOIN billing_invoicedperiod invoiced ON invoiced.charge_id = item.charge_id
  LEFT JOIN billing_invoiceline line ON line.id = invoiced.line_id
  LEFT JOIN billing_invoice invoice ON invoice.id = line.invoice_id
 ORDER BY item.dispute_id, item.id
"""

# Nobody rates months until commit, where one of these charges is of a month: what stands is what is taken back from.
LOCK_MONTHS: Final = """
SELECT pg_advisory_xact_lock(%(run)s)
 WHERE EXISTS (SELECT FROM billing_disputedcharge WHERE dispute_id = ANY(%(disputes)s) AND period_charge_id IS NOT NULL)
"""
# What stands of the months of these charges: charge -> base, last revision, its number, total, the platform's share, its payee.
STANDS: Final = """
SELECT charge.id, coalesce(charge.base_id, charge.id), last.id, last.revision, last.total_micros, last.basis_points,
       last.provider_id, last.publisher_id, last.currency
  FROM billing_periodcharge charge
 CROSS JOIN LATERAL (SELECT * FROM billing_periodcharge month
                      WHERE month.id = coalesce(charge.base_id, charge.id) OR month.base_id = coalesce(charge.base_id, charge.id)
                      ORDER BY revision DESC LIMIT 1) last
 WHERE charge.id = ANY(%(charges)s)
"""
# A revision is all that the last one is, but for what it takes back.
REFUND_MONTHS: Final = """
INSERT INTO billing_periodcharge (
       subject_id, organization_id, provider_id, publisher_id, offer_id, version_id, contract_id, meter, payer, period, zone,
       revision, base_id, refunds_id, cutoff, raw, billed, currency, precise, total_micros, amount_micros, provider_micros,
       publisher_micros, platform_micros, basis_points, lines, evidence, digest, algorithm, entry_id, rated_at)
SELECT subject_id, organization_id, provider_id, publisher_id, offer_id, version_id, contract_id, meter, refund.payer, period, zone,
       refund.revision, refund.base, refund.charge, cutoff, raw, billed, currency, precise, refund.total, refund.amount,
       refund.provided, refund.published, refund.platform, basis_points, lines, evidence, digest, algorithm, refund.entry, %(now)s
  FROM unnest(%(charge)s::bigint[], %(base)s::bigint[], %(last)s::bigint[], %(revision)s::int[], %(total)s::bigint[],
              %(amount)s::bigint[], %(provided)s::bigint[], %(published)s::bigint[], %(platform)s::bigint[], %(payer)s::text[],
              %(entry)s::bigint[])
       AS refund (charge, base, last, revision, total, amount, provided, published, platform, payer, entry)
  JOIN billing_periodcharge last ON last.id = refund.last
 ORDER BY refund.base, refund.revision
RETURNING refunds_id, id
"""

# Who closes months leaves these accounts alone until commit, so that a charge stays where it stands.
LOCK_ACCOUNTS: Final = """
SELECT pg_advisory_xact_lock(%(key)s, organization_id) FROM (
  SELECT DISTINCT organization_id::int AS organization_id FROM billing_dispute WHERE id = ANY(%(disputes)s)
   ORDER BY 1) account
"""
# Corrections of their usage wait too.
LOCK_TASKS: Final = """
SELECT id FROM marketplace_task
 WHERE id IN (SELECT charge.task_id FROM billing_disputedcharge item JOIN billing_charge charge ON charge.id = item.charge_id
               WHERE item.dispute_id = ANY(%(disputes)s))
 ORDER BY id FOR NO KEY UPDATE
"""
# In the order in which payments lock them.
LOCK_INVOICES: Final = """
SELECT id FROM billing_invoice
 WHERE id IN (SELECT line.invoice_id FROM billing_disputedcharge item
                JOIN billing_invoicedcharge invoiced ON invoiced.charge_id = item.charge_id
                JOIN billing_invoiceline line ON line.id = invoiced.line_id
               WHERE item.dispute_id = ANY(%(disputes)s)
              UNION ALL
              SELECT line.invoice_id FROM billing_disputedcharge item
                JOIN billing_invoicedperiod invoiced ON invoiced.charge_id = item.period_charge_id
                JOIN billing_invoiceline line ON line.id = invoiced.line_id
               WHERE item.dispute_id = ANY(%(disputes)s))
 ORDER BY due_at, id FOR UPDATE
"""

DECIDE_ITEMS: Final = """
UPDATE billing_disputedcharge item
   SET state = 'decided', awarded_micros = told.awarded, refund_id = told.refund, note_id = told.note,
       period_refund_id = told.period_refund
  FROM unnest(%(items)s::bigint[], %(awarded)s::bigint[], %(refunds)s::bigint[], %(notes)s::bigint[], %(period_refunds)s::bigint[])
    AS told (id, awarded, refund, note, period_refund)
 WHERE item.id = told.id AND item.state = 'open'
"""
DECIDE: Final = """
UPDATE billing_dispute dispute
   SET state = 'decided', outcome = told.outcome, awarded_micros = told.awarded, ended_at = %(now)s, decided_by_id = %(by)s
  FROM unnest(%(disputes)s::bigint[], %(outcomes)s::text[], %(awarded)s::bigint[]) AS told (id, outcome, awarded)
 WHERE dispute.id = told.id AND dispute.state IN ('open', 'answered')
"""
