-- The ledger and the charges move what may still be spent, in the transaction that posts them.

-- 1. What an organization owes and has prepaid is what the legs on its accounts say. Every kind that begins with user_ and is
--    no wallet counts as owed.
CREATE FUNCTION billing_legs_move() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  organizations bigint[];
  currencies text[];
  unpaid numeric[];
  prepaid numeric[];
BEGIN
  SELECT array_agg(moved.organization_id), array_agg(moved.currency), array_agg(moved.unpaid), array_agg(moved.prepaid)
    INTO organizations, currencies, unpaid, prepaid
    FROM (SELECT account.organization_id, account.currency,
                 coalesce(sum(fresh.debit_micros - fresh.credit_micros)
                          FILTER (WHERE account.kind NOT IN ('user_prepaid', 'user_grant')), 0) AS unpaid,
                 coalesce(sum(fresh.credit_micros - fresh.debit_micros)
                          FILTER (WHERE account.kind IN ('user_prepaid', 'user_grant')), 0) AS prepaid
            FROM fresh JOIN billing_account account ON account.id = fresh.account_id
           WHERE account.kind LIKE 'user\_%'
           GROUP BY account.organization_id, account.currency) moved
   WHERE moved.unpaid <> 0 OR moved.prepaid <> 0;
  IF organizations IS NULL THEN
    RETURN NULL;
  END IF;
  PERFORM marketplace_lock_allowances(organizations, currencies);
  UPDATE marketplace_allowance allowance
     SET unpaid_micros = allowance.unpaid_micros + moved.unpaid, prepaid_micros = allowance.prepaid_micros + moved.prepaid
    FROM unnest(organizations, currencies, unpaid, prepaid) AS moved (organization, currency, unpaid, prepaid)
   WHERE allowance.organization_id = moved.organization AND allowance.currency = moved.currency;
  RETURN NULL;
END $$;
CREATE TRIGGER legs_move AFTER INSERT ON billing_leg REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION billing_legs_move();
ALTER TABLE billing_leg ENABLE ALWAYS TRIGGER legs_move;

-- 2. What a user is charged is captured from the task's hold, as far as that goes, and counted by the budgets.
CREATE FUNCTION billing_charges_move() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  tasks uuid[];
  moves numeric[];
BEGIN
  SELECT array_agg(charged.task_id), array_agg(charged.micros) INTO tasks, moves
    FROM (SELECT task_id, sum(amount_micros) AS micros FROM fresh WHERE payer = 'user' AND amount_micros <> 0 GROUP BY task_id) charged;
  IF tasks IS NULL THEN
    RETURN NULL;
  END IF;
  PERFORM marketplace_lock_allowances(array_agg(organization_id), array_agg(currency))
     FROM (SELECT DISTINCT organization_id, currency FROM fresh WHERE payer = 'user' AND amount_micros <> 0) parties;
  UPDATE marketplace_hold hold
     SET captured_micros = hold.captured_micros + least(hold.amount_micros - hold.captured_micros, charged.micros)
    FROM unnest(tasks, moves) AS charged (task_id, micros)
   WHERE hold.task_id = charged.task_id AND hold.state = 'held' AND charged.micros > 0
     AND hold.captured_micros < hold.amount_micros;
  UPDATE marketplace_budget budget
     SET spent_micros = CASE WHEN budget.period_start < spent.period_start THEN 0 ELSE budget.spent_micros END + spent.micros,
         period_start = spent.period_start
    FROM (SELECT counted.id, min(marketplace_budget_period(counted)) AS period_start, sum(charged.micros) AS micros
            FROM unnest(tasks, moves) AS charged (task_id, micros)
            JOIN marketplace_task task ON task.id = charged.task_id
            JOIN marketplace_budget counted ON counted.organization_id = task.organization_id
                 AND counted.currency = task.terms ->> 'currency' AND counted.closed_at IS NULL
                 AND counted.period_start <= now()
                 AND marketplace_budget_counts(counted, task)
           GROUP BY counted.id) spent
   WHERE budget.id = spent.id;
  RETURN NULL;
END $$;
CREATE TRIGGER charges_move AFTER INSERT ON billing_charge REFERENCING NEW TABLE AS fresh
  FOR EACH STATEMENT EXECUTE FUNCTION billing_charges_move();
ALTER TABLE billing_charge ENABLE ALWAYS TRIGGER charges_move;

-- 3. What was posted before: the limits follow with the first submit, or with the sweep.
INSERT INTO marketplace_allowance (organization_id, currency, limit_micros, prepaid_micros, unpaid_micros, held_micros)
SELECT account.organization_id, account.currency, 0, 0, sum(leg.debit_micros::numeric - leg.credit_micros), 0
  FROM billing_leg leg JOIN billing_account account ON account.id = leg.account_id
 WHERE account.kind = 'user_receivable' GROUP BY account.organization_id, account.currency;
