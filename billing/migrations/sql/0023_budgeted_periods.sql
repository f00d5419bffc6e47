-- Budgets count what is charged by period when it is posted, as they count tasks' charges.

-- 1. How much of a charge a budget counts: all, or the part of its tasks by the core time that they held under the price list.
CREATE FUNCTION billing_budget_share(budget marketplace_budget, charge billing_periodcharge) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN budget.scope = 'organization' THEN charge.amount_micros ELSE (
         SELECT coalesce(div(charge.amount_micros::numeric
                             * sum(usage.held_core_ms::numeric) FILTER (WHERE marketplace_budget_counts(budget, task)),
                             nullif(sum(usage.held_core_ms::numeric), 0)), 0)::bigint
           FROM billing_charge handed
           JOIN metering_usagerecord usage ON usage.id = handed.usage_id
           JOIN marketplace_task task ON task.id = handed.task_id
           JOIN marketplace_offer offer ON offer.id = charge.offer_id AND offer.pool_id = usage.pool_id
          WHERE handed.organization_id = charge.organization_id AND handed.reason = 'by_period' AND handed.payer = charge.payer
            AND handed.charged_at >= lower(charge.period) AND handed.charged_at < charge.cutoff
            AND usage.ended_at > lower(charge.period) AND usage.started_at < upper(charge.period)
            AND coalesce((SELECT own.id FROM marketplace_offer own
                           WHERE own.customer_id = charge.organization_id AND own.pool_id = usage.pool_id
                             AND own.valid @> task.priced_at), usage.offer_id) = offer.id) END
$$;

-- 2. Written once and never changed.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_budgetedperiod
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_budgetedperiod
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_budgetedperiod ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_budgetedperiod ENABLE ALWAYS TRIGGER append_only_truncate;

-- 3. Allowances first, then budgets: the order of locks of everything that moves them.
CREATE FUNCTION billing_periods_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM fresh JOIN marketplace_budget budget ON budget.organization_id = fresh.organization_id
                  WHERE fresh.payer = 'user' AND fresh.amount_micros <> 0 AND budget.closed_at IS NULL) THEN
    RETURN NULL;
  END IF;
  PERFORM marketplace_lock_allowances(array_agg(organization_id), array_agg(currency))
     FROM (SELECT DISTINCT organization_id, currency FROM fresh WHERE payer = 'user' AND amount_micros <> 0) parties;
  WITH counted AS (
    INSERT INTO billing_budgetedperiod (budget_id, charge_id, micros)
    SELECT budget.id, charge.id, share.micros
      FROM fresh JOIN billing_periodcharge charge ON charge.id = fresh.id
      JOIN marketplace_budget budget ON budget.organization_id = charge.organization_id AND budget.currency = charge.currency
           AND budget.closed_at IS NULL AND budget.period_start <= charge.rated_at
     CROSS JOIN LATERAL (SELECT billing_budget_share(budget, charge) AS micros) share
     WHERE charge.payer = 'user' AND charge.amount_micros <> 0 AND share.micros <> 0
    RETURNING budget_id, micros
  )
  UPDATE marketplace_budget budget
     SET spent_micros = CASE WHEN budget.period_start < spent.period_start THEN 0 ELSE budget.spent_micros END + spent.micros,
         period_start = spent.period_start
    FROM (SELECT known.id, min(marketplace_budget_period(known)) AS period_start, sum(counted.micros) AS micros
            FROM counted JOIN marketplace_budget known ON known.id = counted.budget_id GROUP BY known.id) spent
   WHERE budget.id = spent.id;
  RETURN NULL;
END $$;
CREATE TRIGGER periods_move AFTER INSERT ON billing_periodcharge REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION billing_periods_move();
ALTER TABLE billing_periodcharge ENABLE ALWAYS TRIGGER periods_move;

-- 4. A new budget counts what was charged before it. Under the allowance's lock (billing/credit/budgets.py).
CREATE FUNCTION billing_budget_periods(wanted bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO billing_budgetedperiod (budget_id, charge_id, micros)
  SELECT budget.id, charge.id, share.micros
    FROM marketplace_budget budget
    JOIN billing_periodcharge charge ON charge.organization_id = budget.organization_id AND charge.currency = budget.currency
         AND charge.rated_at >= budget.period_start
   CROSS JOIN LATERAL (SELECT billing_budget_share(budget, charge) AS micros) share
   WHERE budget.closed_at IS NULL AND (wanted IS NULL OR budget.id = wanted)
     AND charge.payer = 'user' AND charge.amount_micros <> 0 AND share.micros <> 0
$$;
SELECT billing_budget_periods(NULL);
UPDATE marketplace_budget budget SET spent_micros = budget.spent_micros + counted.micros
  FROM (SELECT budget_id, sum(micros) AS micros FROM billing_budgetedperiod GROUP BY 1) counted
 WHERE counted.budget_id = budget.id AND budget.closed_at IS NULL;
