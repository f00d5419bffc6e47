"""The statements that close months. Each works on any number of accounts; values are parameters, amounts are micro-units.

PostgreSQL's round() of a numeric is half away from zero: the one rounding of a line.
"""

from __future__ import annotations

from typing import Final

# Sorting and hashing the charges of a chunk within memory, for this transaction; with the usual 4 MB they go through files.
ROOM: Final = "SET LOCAL work_mem = '64MB'"

# What users were charged and no invoice holds: when the service was, whose, how much.
_UNBILLED: Final = """
  SELECT charge.id, charge.organization_id, charge.currency, charge.charged_at, charge.usage_id, charge.task_id,
         CASE WHEN charge.kind = 'delta' OR charge.kind = 'refund' AND charge.usage_id IS NOT NULL THEN 'usage'
              WHEN charge.kind = 'refund' THEN 'fee' ELSE charge.kind END AS kind, charge.kind IN ('delta', 'refund') AS corrects,
         charge.amount_micros, coalesce(usage.ended_at, task.ended_at) AS service_at, usage.pool_id, usage.offer_id,
         coalesce(usage.capability_version_id, task.capability_version_id) AS version_id,
         usage.core_ms, usage.held_core_ms, usage.accelerator_ms, usage.fp32_gflop,
         usage.bytes_in::numeric + usage.bytes_out AS bytes_moved, (charge.kind NOT IN ('refund', 'sla'))::int AS counts
    FROM billing_charge charge
    JOIN marketplace_task task ON task.id = charge.task_id
    LEFT JOIN metering_usagerecord usage ON usage.id = charge.usage_id
   WHERE charge.payer = 'user' AND charge.amount_micros <> 0 AND charge.charged_at >= %(since)s AND charge.charged_at < %(cutoff)s
     AND NOT EXISTS (SELECT FROM billing_invoicedcharge invoiced WHERE invoiced.charge_id = charge.id)"""

# The same of what is charged by period: its service belongs to the month that it ends in, and it has its own cutoff.
_UNBILLED_PERIODS: Final = """
  SELECT charge.id, charge.organization_id, charge.currency, charge.rated_at AS charged_at, charge.amount_micros, charge.period,
         charge.revision > 0 AS corrects, charge.meter, charge.billed, charge.offer_id, charge.version_id,
         upper(charge.period) - interval '1 microsecond' AS service_at
    FROM billing_periodcharge charge
   WHERE charge.payer = 'user' AND charge.amount_micros <> 0 AND charge.rated_at >= %(since)s
     AND NOT EXISTS (SELECT FROM billing_invoicedperiod invoiced WHERE invoiced.charge_id = charge.id)"""

_MINE: Final = " AND (%(organizations)s::bigint[] IS NULL OR charge.organization_id = ANY(%(organizations)s))"

# The accounts that have something unbilled, each with the moment that its next month must hold: the first service after
# its last month, or when a charge of an earlier service came.
ACCOUNTS: Final = f"""
SELECT unbilled.organization_id, unbilled.currency, last.ends_at,
       min(CASE WHEN last.ends_at IS NULL OR service_at >= last.ends_at THEN service_at ELSE greatest(charged_at, last.ends_at) END)
  FROM (SELECT organization_id, currency, service_at, charged_at FROM ({_UNBILLED}{_MINE}) of_tasks
        UNION ALL
        SELECT organization_id, currency, service_at, charged_at FROM ({_UNBILLED_PERIODS}{_MINE}) of_periods) unbilled
  LEFT JOIN (SELECT organization_id, currency, max(ends_at) AS ends_at, bool_or(state <> 'closed') AS runs
               FROM billing_billingperiod charge WHERE true{_MINE} GROUP BY organization_id, currency) last
    ON last.organization_id = unbilled.organization_id AND last.currency = unbilled.currency
 WHERE last.runs IS NOT TRUE
 GROUP BY unbilled.organization_id, unbilled.currency, last.ends_at
 ORDER BY unbilled.organization_id, unbilled.currency
"""

OPEN: Final = """
WITH opened AS (
  INSERT INTO billing_billingperiod (organization_id, currency, starts_at, ends_at, zone, state, parked_code, parked_detail)
  SELECT *, 'open', '', '' FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::text[])
  ON CONFLICT DO NOTHING RETURNING id, organization_id, currency
)
INSERT INTO billing_invoice (period_id, organization_id, currency, minor_micros, state, due_days, carries_remainder, exact_micros,
  carried_in_micros, carried_out_micros, dropped_micros, net_micros, tax_micros, total_micros, paid_micros, credited_micros,
  bill_to, issuer, reason)
SELECT opened.id, organization_id, opened.currency, minor, 'gathering', 0, true, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}', '{}', ''
  FROM opened JOIN unnest(%s::text[], %s::int[]) AS unit (currency, minor) ON unit.currency = opened.currency
"""

# Account by account: who is closing one keeps all others off it until commit. Its own statement: the next must see what the
# last holder committed.
LOCK: Final = """
SELECT id FROM (SELECT id, organization_id FROM billing_invoice WHERE id = ANY(%(invoices)s)
                 ORDER BY organization_id, id OFFSET 0) mine
 WHERE pg_try_advisory_xact_lock(%(key)s, organization_id::int)
"""

# The same for one account, by somebody who waits for a run that has it.
WAIT: Final = "SELECT pg_advisory_xact_lock(%(key)s, %(organization)s::int)"

DUE_TO_CLOSE: Final = """
SELECT invoice.id FROM billing_invoice invoice JOIN billing_billingperiod period ON period.id = invoice.period_id
 WHERE invoice.state = 'gathering' AND period.state = 'open' AND period.ends_at <= %(now)s AND invoice.id > %(after)s
   AND (%(organizations)s::bigint[] IS NULL OR invoice.organization_id = ANY(%(organizations)s))
 ORDER BY invoice.id LIMIT %(limit)s
"""
# One month of an account at a time, the earliest first: what it carries goes into the next.
DUE_TO_FINALISE: Final = """
SELECT invoice.id FROM billing_invoice invoice JOIN billing_billingperiod period ON period.id = invoice.period_id
 WHERE invoice.state = 'grace' AND period.state <> 'parked' AND invoice.grace_until <= %(now)s AND invoice.id > %(after)s
   AND (%(organizations)s::bigint[] IS NULL OR invoice.organization_id = ANY(%(organizations)s))
   AND NOT EXISTS (SELECT FROM billing_billingperiod earlier JOIN billing_invoice open ON open.period_id = earlier.id
                    WHERE earlier.organization_id = period.organization_id AND earlier.currency = period.currency
                      AND earlier.starts_at < period.starts_at AND open.state = 'grace')
 ORDER BY invoice.id LIMIT %(limit)s
"""

BEGIN: Final = """
WITH chosen AS (
  SELECT invoice.id, invoice.period_id, period.ends_at, terms.* FROM billing_invoice invoice
    JOIN billing_billingperiod period ON period.id = invoice.period_id
    JOIN unnest(%(organizations)s::bigint[], %(grace)s::int[], %(due)s::int[], %(carries)s::bool[])
      AS terms (organization_id, grace, due, carries) ON terms.organization_id = invoice.organization_id
   WHERE invoice.id = ANY(%(invoices)s) AND invoice.state = 'gathering' AND period.state = 'open' AND period.ends_at <= %(cutoff)s
), closed AS (
  UPDATE billing_billingperiod period SET state = 'closed', cutoff = %(cutoff)s FROM chosen WHERE period.id = chosen.period_id
)
UPDATE billing_invoice invoice SET state = 'draft', cutoff = %(cutoff)s, due_days = due, carries_remainder = carries,
       grace_until = ends_at + make_interval(days => grace)
  FROM chosen WHERE invoice.id = chosen.id
RETURNING invoice.id
"""

# Charges -> numbered lines, and which charge stands in which. They are added up before their capability and basis are looked up:
# there are far fewer sums than charges.
DRAW: Final = f"""
WITH account AS MATERIALIZED (
  SELECT invoice.id AS invoice_id, invoice.organization_id, invoice.currency, invoice.minor_micros, starts_at, ends_at, zone
    FROM billing_invoice invoice JOIN billing_billingperiod period ON period.id = invoice.period_id
   WHERE invoice.id = ANY(%(invoices)s)
), charge AS (
  SELECT unbilled.*, account.invoice_id, minor_micros, service_at < starts_at OR corrects AS late,
         CASE WHEN service_at >= starts_at THEN starts_at
              ELSE date_trunc('month', service_at AT TIME ZONE zone) AT TIME ZONE zone END AS service_from,
         CASE WHEN service_at >= starts_at THEN ends_at
              ELSE (date_trunc('month', service_at AT TIME ZONE zone) + interval '1 month') AT TIME ZONE zone
         END AS service_to
    FROM account JOIN ({_UNBILLED}) unbilled
      ON unbilled.organization_id = account.organization_id AND unbilled.currency = account.currency
     AND service_at < ends_at
), added AS (
  SELECT invoice_id, kind, late, service_from, min(service_to) AS service_to, version_id, pool_id, offer_id, count(*) AS many,
         sum(core_ms * counts) AS core_ms, sum(held_core_ms * counts) AS held_core_ms, sum(fp32_gflop * counts) AS fp32_gflop,
         sum(accelerator_ms * counts) AS accelerator_ms, sum(bytes_moved * counts) AS bytes_moved,
         sum(amount_micros) AS exact, min(minor_micros) AS minor, array_agg(id) AS charges
    FROM charge GROUP BY invoice_id, service_from, late, kind, version_id, pool_id, offer_id
), part AS MATERIALIZED (
  SELECT added.*, version.capability_id, priced.basis,
         dense_rank() OVER (PARTITION BY invoice_id ORDER BY service_from DESC, late, kind DESC, capability_id, added.pool_id,
                                                             priced.basis) AS number
    FROM added JOIN marketplace_capabilityversion version ON version.id = added.version_id
    LEFT JOIN marketplace_offer offer ON offer.id = added.offer_id
   CROSS JOIN LATERAL (SELECT CASE WHEN added.kind = 'usage' THEN coalesce(offer.basis, '') ELSE '' END AS basis) priced
), line AS (
  INSERT INTO billing_invoiceline (
    invoice_id, number, kind, is_correction, service_from, service_to, capability_id, pool_id, basis, charges, quantities,
    exact_micros, amount_micros, tax_micros)
  SELECT invoice_id, number, kind, late, service_from, min(service_to), capability_id, pool_id, basis, sum(many),
         CASE WHEN kind = 'usage' THEN jsonb_build_object(
           'core_second', trim_scale(sum(core_ms) * 0.001)::text,
           'occupancy_second', trim_scale(sum(held_core_ms) * 0.001)::text,
           'accelerator_second', trim_scale(sum(accelerator_ms) * 0.001)::text,
           'fp32_tflop', trim_scale(sum(fp32_gflop) * 0.001)::text,
           'gb_moved', trim_scale(sum(bytes_moved) * 0.000000001)::text) ELSE '{{}}' END,
         sum(exact)::bigint, (round(sum(exact) / min(minor)) * min(minor))::bigint, 0
    FROM part GROUP BY invoice_id, number, kind, late, service_from, capability_id, pool_id, basis
  RETURNING id, invoice_id, number
)
INSERT INTO billing_invoicedcharge (charge_id, line_id)
SELECT unnest(part.charges), line.id FROM part JOIN line ON line.invoice_id = part.invoice_id AND line.number = part.number
"""
# Charges of whole months follow: a line for each month, price list (a pool's, then fees of versions) and meter; corrections apart.
DRAW_PERIODS: Final = f"""
WITH charge AS MATERIALIZED (
  SELECT *, before + dense_rank() OVER (PARTITION BY invoice_id ORDER BY period DESC, late, offer_id, version_id, meter) AS number
    FROM (SELECT unbilled.*, invoice.id AS invoice_id, invoice.minor_micros, offer.pool_id, version.capability_id,
                 corrects OR service_at < starts_at AS late,
                 (SELECT coalesce(max(number), 0) FROM billing_invoiceline line WHERE line.invoice_id = invoice.id) AS before
            FROM billing_invoice invoice JOIN billing_billingperiod month ON month.id = invoice.period_id
            JOIN ({_UNBILLED_PERIODS}) unbilled ON unbilled.organization_id = invoice.organization_id
             AND unbilled.currency = invoice.currency AND service_at < ends_at
            LEFT JOIN marketplace_offer offer ON offer.id = unbilled.offer_id
            LEFT JOIN marketplace_capabilityversion version ON version.id = unbilled.version_id
           WHERE invoice.id = ANY(%(invoices)s)) found
), line AS (
  INSERT INTO billing_invoiceline (
    invoice_id, number, kind, is_correction, service_from, service_to, capability_id, pool_id, basis, charges, quantities,
    exact_micros, amount_micros, tax_micros)
  SELECT invoice_id, number, 'period', bool_or(late), min(lower(period)), min(upper(period)), min(capability_id), min(pool_id),
         min(meter), count(*),
         jsonb_build_object(min(meter), trim_scale((array_agg(billed ORDER BY id DESC))[1])::text),
         sum(amount_micros)::bigint, (round(sum(amount_micros) / min(minor_micros)) * min(minor_micros))::bigint, 0
    FROM charge GROUP BY invoice_id, number
  RETURNING id, invoice_id, number
)
INSERT INTO billing_invoicedperiod (charge_id, line_id)
SELECT charge.id, line.id FROM charge JOIN line ON line.invoice_id = charge.invoice_id AND line.number = charge.number
"""
UNDRAW: Final = (
    """DELETE FROM billing_invoicedperiod invoiced USING billing_invoiceline line
        WHERE line.id = invoiced.line_id AND line.invoice_id = ANY(%(invoices)s)""",
    """DELETE FROM billing_invoicedcharge invoiced USING billing_invoiceline line
        WHERE line.id = invoiced.line_id AND line.invoice_id = ANY(%(invoices)s)""",
    "DELETE FROM billing_invoiceline WHERE invoice_id = ANY(%(invoices)s)",
    "DELETE FROM billing_invoicetax WHERE invoice_id = ANY(%(invoices)s)",
)

_CARRIED: Final = """
  SELECT sum(leg.debit_micros - leg.credit_micros)::bigint AS micros
    FROM billing_account account JOIN billing_leg leg ON leg.account_id = account.id
   WHERE account.kind = 'user_remainder' AND account.organization_id = invoice.organization_id
     AND account.currency = invoice.currency"""

# What rounding left over, with what earlier invoices left: a line when it is a minor unit, or dropped by a line, by contract.
# A draft has its sums now, and is in grace.
ROUND: Final = f"""
WITH mine AS MATERIALIZED (
  SELECT invoice.*, coalesce(carried.micros, 0) AS carried, sums.*,
         rest, CASE WHEN invoice.carries_remainder  -- half a unit is carried on, it makes no line
           THEN sign(rest) * ceil(abs(rest) / invoice.minor_micros - 0.5) * invoice.minor_micros ELSE 0 END AS made
    FROM billing_invoice invoice
    CROSS JOIN LATERAL ({_CARRIED}) carried
    CROSS JOIN LATERAL (SELECT coalesce(sum(exact_micros), 0) AS exact, coalesce(sum(amount_micros), 0) AS net,
                               coalesce(max(line.number), 0) AS lines
                          FROM billing_invoiceline line WHERE line.invoice_id = invoice.id) sums
    CROSS JOIN LATERAL (SELECT sums.exact + coalesce(carried.micros, 0) - sums.net AS rest) left_over
   WHERE invoice.id = ANY(%(invoices)s)
), line AS (
  INSERT INTO billing_invoiceline (invoice_id, number, kind, is_correction, service_from, service_to, basis, charges, quantities,
                                   exact_micros, amount_micros, tax_micros)
  SELECT mine.id, lines + 1, CASE WHEN carries_remainder THEN 'remainder' ELSE 'rounding' END, false, starts_at, ends_at,
         '', 0, '{{}}', rest, made, 0
    FROM mine JOIN billing_billingperiod period ON period.id = mine.period_id
   WHERE CASE WHEN carries_remainder THEN made <> 0 ELSE rest <> 0 END
)
UPDATE billing_invoice invoice SET state = 'grace', exact_micros = exact, carried_in_micros = carried, net_micros = net + made,
       carried_out_micros = CASE WHEN invoice.carries_remainder THEN rest - made ELSE 0 END,
       dropped_micros = CASE WHEN invoice.carries_remainder THEN 0 ELSE rest END,
       tax_micros = 0, total_micros = net + made
  FROM mine WHERE mine.id = invoice.id
"""

# The rate of the assignment's category: the customer's region's own, otherwise the one of everywhere (NULLs come last).
# Each rate on the sum of the lines, rounded once; then shared among the lines by largest remainder, ties to the earlier line.
TAX: Final = """
WITH mine AS MATERIALIZED (
  SELECT invoice.id, invoice.organization_id, net_micros, minor_micros, period.ends_at - interval '1 microsecond' AS at
    FROM billing_invoice invoice JOIN billing_billingperiod period ON period.id = invoice.period_id
   WHERE invoice.id = ANY(%(invoices)s)
), assigned AS MATERIALIZED (
  SELECT assignment.organization_id, assignment.tax_id, assignment.valid * rate.valid AS valid, rate.id, rate.percent,
         rate.region_id
    FROM billing_taxassignment assignment
    JOIN marketplace_organization customer ON customer.id = assignment.organization_id
    JOIN billing_taxrate rate ON rate.tax_id = assignment.tax_id AND rate.category = assignment.category
     AND (rate.region_id IS NULL OR rate.region_id = customer.region_id)
   WHERE assignment.organization_id IN (SELECT organization_id FROM mine)
), taxed AS MATERIALIZED (
  SELECT DISTINCT ON (mine.id, tax_id) mine.id AS invoice_id, assigned.id, percent
    FROM mine JOIN assigned ON assigned.organization_id = mine.organization_id AND assigned.valid @> mine.at
   ORDER BY mine.id, tax_id, region_id
), tax AS (
  INSERT INTO billing_invoicetax (invoice_id, rate_id, percent, base_micros, amount_micros)
  SELECT mine.id, taxed.id, percent, net_micros, round(net_micros * percent / 100 / minor_micros) * minor_micros
    FROM mine JOIN taxed ON taxed.invoice_id = mine.id
  RETURNING invoice_id, rate_id, base_micros, amount_micros
), share AS (
  SELECT line.id, tax.rate_id, minor_micros, tax.amount_micros / minor_micros AS units, tax.invoice_id,
         div(part, base) - (mod(part, base) < 0)::int AS whole,
         row_number() OVER (PARTITION BY tax.invoice_id, tax.rate_id ORDER BY
           mod(part, base) + base * (mod(part, base) < 0)::int DESC, line.number) AS place
    FROM tax JOIN billing_invoice invoice ON invoice.id = tax.invoice_id
    JOIN billing_invoiceline line ON line.invoice_id = tax.invoice_id
   CROSS JOIN LATERAL (SELECT abs(tax.base_micros)::numeric AS base, sign(tax.base_micros::numeric)
                              * tax.amount_micros / minor_micros * line.amount_micros AS part) rounded_down
   WHERE tax.base_micros <> 0
), allocated AS (
  SELECT id, sum(whole + (place <= left_over)::int) * min(minor_micros) AS micros
    FROM (SELECT *, units - sum(whole) OVER (PARTITION BY invoice_id, rate_id) AS left_over FROM share) shared GROUP BY id
), lines AS (
  UPDATE billing_invoiceline line SET tax_micros = allocated.micros
    FROM allocated WHERE line.id = allocated.id AND allocated.micros <> 0
)
UPDATE billing_invoice invoice SET tax_micros = sums.micros, total_micros = net_micros + sums.micros
  FROM (SELECT invoice_id, sum(amount_micros) AS micros FROM tax GROUP BY invoice_id) sums WHERE sums.invoice_id = invoice.id
"""

DRAWN: Final = "SELECT min(cutoff) FROM billing_invoice WHERE id = ANY(%(invoices)s)"

# In grace: those whose month got late charges since they were drawn, or whose account carries another remainder now.
STALE: Final = f"""
WITH mine AS MATERIALIZED (
  SELECT invoice.id, invoice.organization_id, invoice.currency, invoice.carried_in_micros, period.ends_at
    FROM billing_invoice invoice JOIN billing_billingperiod period ON period.id = invoice.period_id
   WHERE invoice.id = ANY(%(invoices)s)
)
SELECT invoice.id FROM mine invoice CROSS JOIN LATERAL ({_CARRIED}) carried
 WHERE coalesce(carried.micros, 0) <> invoice.carried_in_micros
UNION
SELECT mine.id FROM mine JOIN ({_UNBILLED}) unbilled
    ON unbilled.organization_id = mine.organization_id AND unbilled.currency = mine.currency AND unbilled.service_at < mine.ends_at
UNION
SELECT mine.id FROM mine JOIN ({_UNBILLED_PERIODS}) unbilled
    ON unbilled.organization_id = mine.organization_id AND unbilled.currency = mine.currency AND unbilled.service_at < mine.ends_at
"""

PARK: Final = """
UPDATE billing_billingperiod period SET state = CASE WHEN period.state = 'open' THEN 'parked' ELSE period.state END,
       parked_code = CASE WHEN period.state = 'open' THEN %(code)s ELSE '' END, parked_detail = %(detail)s
  FROM billing_invoice invoice WHERE invoice.id = ANY(%(invoices)s) AND period.id = invoice.period_id
"""

# Numbers without a gap: the row of the series is held until commit. Where the journal has something to say, an entry is begun.
ISSUE: Final = """
WITH mine AS MATERIALIZED (
  SELECT invoice.id, row_number() OVER (ORDER BY invoice.id) AS place, count(*) OVER () AS many
    FROM billing_invoice invoice WHERE invoice.id = ANY(%(invoices)s) AND invoice.state = 'grace'
), series AS (
  INSERT INTO billing_series AS series (issuer, kind, year, last)
  SELECT %(issuer)s, 'invoice', %(year)s, max(many) FROM mine HAVING count(*) > 0
  ON CONFLICT (issuer, kind, year) DO UPDATE SET last = series.last + excluded.last
  RETURNING id, last
), numbered AS MATERIALIZED (
  SELECT invoice.*, series.id AS of_series, series.last - many + place AS next,
         format('%%s-%%s-%%s', %(issuer)s::text, %(year)s::int, lpad((series.last - many + place)::text, 6, '0')) AS name,
         period.zone, organization.name AS billed_name, organization.slug, billing_address, organization.tax_number
    FROM mine JOIN billing_invoice invoice ON invoice.id = mine.id CROSS JOIN series
    JOIN billing_billingperiod period ON period.id = invoice.period_id
    JOIN marketplace_organization organization ON organization.id = invoice.organization_id
), entry AS (
  INSERT INTO billing_journalentry (key, kind, memo, posted_at)
  SELECT 'invoice/' || name, 'invoice', '', %(now)s FROM numbered
   WHERE tax_micros <> 0 OR net_micros <> exact_micros OR carried_out_micros <> carried_in_micros OR dropped_micros <> 0
  RETURNING id, key
), issued AS (
  UPDATE billing_invoice invoice SET state = 'finalized', series_id = of_series, sequence = next, number = name,
         finalized_at = %(now)s,
         due_at = ((%(now)s::timestamptz AT TIME ZONE zone)::date + numbered.due_days + 1)::timestamp AT TIME ZONE zone,
         cutoff = greatest(invoice.cutoff, %(now)s), entry_id = entry.id,
         bill_to = jsonb_build_object('name', billed_name, 'slug', slug, 'address', billing_address,
                                      'tax_number', tax_number), issuer = %(by)s::jsonb
    FROM numbered LEFT JOIN entry ON entry.key = 'invoice/' || name
   WHERE invoice.id = numbered.id
)
SELECT numbered.id, entry.id, organization_id, currency, total_micros - exact_micros, tax_micros,
       carried_out_micros - carried_in_micros, dropped_micros
  FROM numbered LEFT JOIN entry ON entry.key = 'invoice/' || name ORDER BY numbered.id
"""
PAY_NOTHING: Final = """
UPDATE billing_invoice SET state = 'paid', ended_at = %(now)s
 WHERE id = ANY(%(invoices)s) AND state = 'finalized' AND total_micros = 0
"""

ACCOUNTS_OF_SIDES: Final = """
INSERT INTO billing_account (kind, organization_id, currency, created_at)
SELECT DISTINCT kind, organization, currency, now()
  FROM unnest(%s::text[], %s::bigint[], %s::text[]) AS side (kind, organization, currency)
 ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
"""
# Accounts of organizations and of the platform apart: "is not distinct from" would be a search through all of a kind.
LEGS: Final = """
WITH side AS MATERIALIZED (
  SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::text[], %s::bigint[])
    AS side (entry, kind, organization, currency, micros)
)
INSERT INTO billing_leg (entry_id, account_id, debit_micros, credit_micros)
SELECT entry, account.id, greatest(micros, 0), greatest(-micros, 0)
  FROM side JOIN billing_account account ON account.organization_id = side.organization AND account.kind = side.kind
   AND account.currency = side.currency
UNION ALL
SELECT entry, account.id, greatest(micros, 0), greatest(-micros, 0)
  FROM side JOIN billing_account account ON account.kind = side.kind AND account.currency = side.currency
 WHERE side.organization IS NULL AND account.organization_id IS NULL
"""
