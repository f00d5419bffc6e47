-- Credit: the sums of allowances and budgets follow the holds in the transaction that writes them, and no hold goes beyond
-- what is available. ENABLE ALWAYS: a plain trigger is skipped under session_replication_role = replica.
-- Order of locks: allowances by id, then holds, then budgets. Who has an organization's allowance may move its budgets.

-- 1. `held` never rises beyond what is available. Charges may pass it: what was used is owed.
CREATE FUNCTION marketplace_keep_allowance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND NEW.held_micros <= OLD.held_micros THEN
    RETURN NEW;
  END IF;
  IF NEW.held_micros > 0 AND NEW.limit_micros + NEW.prepaid_micros - NEW.unpaid_micros - NEW.held_micros < 0 THEN
    RAISE EXCEPTION 'organization % has not so much to spend: % micros of % are missing', NEW.organization_id,
      NEW.held_micros - NEW.limit_micros - NEW.prepaid_micros + NEW.unpaid_micros, NEW.currency
      USING ERRCODE = 'check_violation', CONSTRAINT = 'hold_within_allowance', TABLE = 'marketplace_allowance';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER hold_within_allowance BEFORE INSERT OR UPDATE ON marketplace_allowance
  FOR EACH ROW EXECUTE FUNCTION marketplace_keep_allowance();
ALTER TABLE marketplace_allowance ENABLE ALWAYS TRIGGER hold_within_allowance;

-- 2. A hold resolves once, never gives back what it captured, and keeps its task.
CREATE FUNCTION marketplace_keep_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF OLD.state = 'held' AND NEW.captured_micros >= OLD.captured_micros AND NEW.task_id = OLD.task_id
       AND NEW.organization_id = OLD.organization_id AND NEW.currency = OLD.currency AND NEW.held_at = OLD.held_at THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'a hold is resolved once and then stays as it is: % is refused', TG_OP
    USING ERRCODE = 'insufficient_privilege', TABLE = 'marketplace_hold';
END $$;
CREATE TRIGGER hold_stays BEFORE UPDATE OR DELETE ON marketplace_hold
  FOR EACH ROW EXECUTE FUNCTION marketplace_keep_hold();
CREATE TRIGGER hold_stays_truncate BEFORE TRUNCATE ON marketplace_hold
  FOR EACH STATEMENT EXECUTE FUNCTION marketplace_keep_hold();
ALTER TABLE marketplace_hold ENABLE ALWAYS TRIGGER hold_stays;
ALTER TABLE marketplace_hold ENABLE ALWAYS TRIGGER hold_stays_truncate;

-- 3. Allowances of these parties: made where they are missing (without a limit until one is pushed), and locked in order.
CREATE FUNCTION marketplace_lock_allowances(organizations bigint[], currencies text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO marketplace_allowance (organization_id, currency, limit_micros, prepaid_micros, unpaid_micros, held_micros)
  SELECT DISTINCT party.organization, party.currency, 0, 0, 0, 0
    FROM unnest(organizations, currencies) AS party (organization, currency)
   WHERE NOT EXISTS (SELECT FROM marketplace_allowance known
                      WHERE known.organization_id = party.organization AND known.currency = party.currency)
   ORDER BY 1, 2
  ON CONFLICT DO NOTHING;
  PERFORM FROM marketplace_allowance allowance
    WHERE (allowance.organization_id, allowance.currency) IN (SELECT * FROM unnest(organizations, currencies))
    ORDER BY allowance.id FOR NO KEY UPDATE;
END $$;

-- 4. Does a budget count a task of its organization?
CREATE FUNCTION marketplace_budget_counts(budget marketplace_budget, task marketplace_task) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE budget.scope
         WHEN 'organization' THEN true
         WHEN 'project' THEN task.labels ->> 'project' = budget.project
         WHEN 'user' THEN task.user_id = budget.user_id
         WHEN 'key' THEN task.api_key_id = budget.api_key_id
         ELSE task.id = budget.task_id END
$$;
-- When the period began that is counted now.
CREATE FUNCTION marketplace_budget_period(budget marketplace_budget) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN budget.period = 'month'
              THEN greatest(date_trunc('month', now() AT TIME ZONE budget.zone) AT TIME ZONE budget.zone, budget.period_start)
              ELSE budget.period_start END
$$;

-- 5. What holds move, their allowances and budgets follow.
CREATE FUNCTION marketplace_move_held(tasks uuid[], moves numeric[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF tasks IS NULL THEN
    RETURN;
  END IF;
  PERFORM marketplace_lock_allowances(array_agg(hold.organization_id), array_agg(hold.currency))
     FROM marketplace_hold hold WHERE hold.task_id = ANY(tasks);
  UPDATE marketplace_allowance allowance SET held_micros = allowance.held_micros + moved.micros
    FROM (SELECT hold.organization_id, hold.currency, sum(move.micros) AS micros
            FROM unnest(tasks, moves) AS move (task_id, micros) JOIN marketplace_hold hold ON hold.task_id = move.task_id
           GROUP BY hold.organization_id, hold.currency) moved
   WHERE allowance.organization_id = moved.organization_id AND allowance.currency = moved.currency;
  UPDATE marketplace_budget budget SET held_micros = budget.held_micros + moved.micros
    FROM (SELECT counted.id, sum(move.micros) AS micros
            FROM unnest(tasks, moves) AS move (task_id, micros)
            JOIN marketplace_hold hold ON hold.task_id = move.task_id
            JOIN marketplace_budget counted ON counted.organization_id = hold.organization_id
                 AND counted.currency = hold.currency AND counted.closed_at IS NULL
            JOIN marketplace_task task ON task.id = move.task_id AND marketplace_budget_counts(counted, task)
           GROUP BY counted.id) moved
   WHERE budget.id = moved.id;
END $$;
CREATE FUNCTION marketplace_holds_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM marketplace_move_held(array_agg(task_id), array_agg((amount_micros - captured_micros)::numeric))
       FROM now_held WHERE state = 'held';
  ELSE
    PERFORM marketplace_move_held(array_agg(task_id), array_agg(micros))
       FROM (SELECT fresh.task_id,
                    CASE WHEN fresh.state = 'held' THEN fresh.amount_micros - fresh.captured_micros ELSE 0 END::numeric
                    - CASE WHEN before.state = 'held' THEN before.amount_micros - before.captured_micros ELSE 0 END AS micros
               FROM now_held fresh JOIN then_held before ON before.task_id = fresh.task_id) moved
      WHERE micros <> 0;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER holds_move AFTER INSERT ON marketplace_hold REFERENCING NEW TABLE AS now_held
  FOR EACH STATEMENT EXECUTE FUNCTION marketplace_holds_move();
CREATE TRIGGER holds_move_on AFTER UPDATE ON marketplace_hold REFERENCING NEW TABLE AS now_held OLD TABLE AS then_held
  FOR EACH STATEMENT EXECUTE FUNCTION marketplace_holds_move();
ALTER TABLE marketplace_hold ENABLE ALWAYS TRIGGER holds_move;
ALTER TABLE marketplace_hold ENABLE ALWAYS TRIGGER holds_move_on;

-- 6. What a budget counts never changes; a closed one stays closed. Alerts stay as they were raised.
CREATE FUNCTION marketplace_keep_budget() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.closed_at IS NULL AND NEW.organization_id = OLD.organization_id AND NEW.scope = OLD.scope
     AND NEW.project = OLD.project AND NEW.currency = OLD.currency AND NEW.period = OLD.period
     AND (NEW.user_id IS NULL OR NEW.user_id = OLD.user_id) AND (NEW.api_key_id IS NULL OR NEW.api_key_id = OLD.api_key_id)
     AND NEW.task_id IS NOT DISTINCT FROM OLD.task_id AND NEW.period_start >= OLD.period_start THEN
    RETURN NEW;
  END IF;
  IF OLD.closed_at IS NOT NULL AND NEW.closed_at = OLD.closed_at
     AND to_jsonb(NEW) - '{user_id,api_key_id}'::text[] = to_jsonb(OLD) - '{user_id,api_key_id}'::text[] THEN
    RETURN NEW;  -- its person or key is deleted
  END IF;
  RAISE EXCEPTION 'a budget keeps what it counts' USING ERRCODE = 'insufficient_privilege', TABLE = 'marketplace_budget';
END $$;
CREATE TRIGGER budget_stays BEFORE UPDATE ON marketplace_budget
  FOR EACH ROW EXECUTE FUNCTION marketplace_keep_budget();
ALTER TABLE marketplace_budget ENABLE ALWAYS TRIGGER budget_stays;
CREATE FUNCTION marketplace_keep_alert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'an alert stays as it was raised' USING ERRCODE = 'insufficient_privilege', TABLE = 'marketplace_budgetalert';
END $$;
CREATE TRIGGER alert_stays BEFORE UPDATE ON marketplace_budgetalert
  FOR EACH ROW EXECUTE FUNCTION marketplace_keep_alert();
ALTER TABLE marketplace_budgetalert ENABLE ALWAYS TRIGGER alert_stays;
