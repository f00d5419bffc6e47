-- What PostgreSQL keeps of payouts, whatever the code does. ENABLE ALWAYS, as for the ledger.

-- 1. A payout begins as a draft, makes only moves that there are, and says for ever what it pays.
CREATE FUNCTION billing_check_payout() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'attempts_count', 'reason', 'approved_at', 'approved_by_id', 'sent_at', 'ended_at', 'entry_id'];
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'draft' THEN
      RAISE EXCEPTION 'a payout begins as a draft'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_moves', TABLE = 'billing_payout';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
       ('draft', 'approved'), ('draft', 'cancelled'), ('approved', 'sent'), ('approved', 'cancelled'),
       ('sent', 'paid'), ('sent', 'failed'), ('failed', 'approved'), ('failed', 'cancelled')) THEN
    RAISE EXCEPTION 'payout % may not go from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_moves', TABLE = 'billing_payout';
  END IF;
  IF (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens)
     OR OLD.state IN ('paid', 'cancelled') AND to_jsonb(NEW) IS DISTINCT FROM to_jsonb(OLD) THEN
    RAISE EXCEPTION 'payout % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'payout_is_frozen', TABLE = 'billing_payout';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER payout_moves BEFORE INSERT OR UPDATE ON billing_payout FOR EACH ROW EXECUTE FUNCTION billing_check_payout();
ALTER TABLE billing_payout ENABLE ALWAYS TRIGGER payout_moves;

-- 2. A payout is the sum of its lines when the transaction that makes it commits; one that was cancelled already may have none.
CREATE FUNCTION billing_check_payout_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  found record;
BEGIN
  SELECT count(*) AS lines, coalesce(sum(amount_micros), 0) AS exact INTO found FROM billing_payoutline WHERE payout_id = NEW.id;
  IF (found.lines, found.exact) IS DISTINCT FROM (NEW.lines_count::bigint, NEW.exact_micros::numeric)
     AND NOT EXISTS (SELECT FROM billing_payout payout WHERE payout.id = NEW.id AND payout.state = 'cancelled') THEN
    RAISE EXCEPTION 'payout % says %, its lines come to %', NEW.id, NEW.exact_micros, found.exact
      USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_is_the_sum_of_its_lines', TABLE = 'billing_payout';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER payout_is_the_sum_of_its_lines AFTER INSERT ON billing_payout
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_payout_sum();
ALTER TABLE billing_payout ENABLE ALWAYS TRIGGER payout_is_the_sum_of_its_lines;

-- 3. Lines come with a draft and are what their charge says; they leave only a payout that was cancelled. One check per statement.
CREATE FUNCTION billing_check_payout_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.share INTO wrong FROM changed
    LEFT JOIN billing_payout payout ON payout.id = changed.payout_id LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
   WHERE payout.id IS NULL OR charge.id IS NULL OR payout.state <> 'draft' OR payout.currency <> charge.currency
      OR payout.organization_id IS DISTINCT FROM CASE changed.role WHEN 'provider' THEN charge.provider_id ELSE charge.publisher_id END
      OR changed.amount_micros <> CASE changed.role WHEN 'provider' THEN charge.provider_micros ELSE charge.publisher_micros END
   LIMIT 1;
  IF NOT FOUND THEN
    SELECT payout.id INTO wrong FROM billing_payout payout
      JOIN billing_payoutline line ON line.payout_id = payout.id
     WHERE payout.id IN (SELECT payout_id FROM changed)
     GROUP BY payout.id HAVING sum(line.amount_micros) <> payout.exact_micros OR count(*) <> payout.lines_count LIMIT 1;
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'share or payout %: lines are what their charges and their draft say', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_line_is_of_its_charge', TABLE = 'billing_payoutline';
  END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION billing_check_payout_leaving() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM changed JOIN billing_payout payout ON payout.id = changed.payout_id WHERE payout.state <> 'cancelled') THEN
    RAISE EXCEPTION 'a line leaves only a cancelled payout'
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'payout_line_stays', TABLE = 'billing_payoutline';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER checked_insert AFTER INSERT ON billing_payoutline REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_payout_lines();
CREATE TRIGGER checked_move AFTER UPDATE ON billing_payoutline REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_payout_lines();
CREATE TRIGGER checked_update AFTER UPDATE ON billing_payoutline REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_payout_leaving();
ALTER TABLE billing_payoutline ENABLE ALWAYS TRIGGER checked_insert;
ALTER TABLE billing_payoutline ENABLE ALWAYS TRIGGER checked_move;
ALTER TABLE billing_payoutline ENABLE ALWAYS TRIGGER checked_update;

-- 4. An attempt ends once, and says for ever under which key.
CREATE FUNCTION billing_check_payout_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'reference', 'reason', 'ended_at'];
BEGIN
  IF OLD.state <> 'sent' OR (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens) THEN
    RAISE EXCEPTION 'attempt % is %: this change is refused', OLD.key, OLD.state
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'payout_attempt_stays', TABLE = 'billing_payoutattempt';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER payout_attempt_stays BEFORE UPDATE ON billing_payoutattempt
  FOR EACH ROW EXECUTE FUNCTION billing_check_payout_attempt();
ALTER TABLE billing_payoutattempt ENABLE ALWAYS TRIGGER payout_attempt_stays;

-- 5. Nothing of this goes away; runs and the sandbox's books never change.
DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['billing_payoutrun', 'billing_sandboxtransfer'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
  END LOOP;
  FOREACH kept IN ARRAY ARRAY['billing_payout', 'billing_payoutline', 'billing_payoutattempt'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
  END LOOP;
  FOREACH kept IN ARRAY ARRAY['billing_payoutrun', 'billing_payout', 'billing_payoutline', 'billing_payoutattempt', 'billing_sandboxtransfer'] LOOP
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only_truncate', kept);
  END LOOP;
END $$;
