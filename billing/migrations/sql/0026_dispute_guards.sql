-- What PostgreSQL keeps of disputes, whatever the code does. ENABLE ALWAYS, as for the ledger.

-- 1. A dispute begins open, makes only moves that there are, and says for ever what it is about.
CREATE FUNCTION billing_check_dispute() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'position', 'outcome', 'awarded_micros', 'answered_at', 'ended_at', 'decided_by_id'];
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'open' THEN
      RAISE EXCEPTION 'a dispute begins open'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'dispute_moves', TABLE = 'billing_dispute';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
       ('open', 'answered'), ('open', 'decided'), ('open', 'withdrawn'), ('answered', 'decided'), ('answered', 'withdrawn')) THEN
    RAISE EXCEPTION 'dispute % may not go from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'dispute_moves', TABLE = 'billing_dispute';
  END IF;
  IF (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens)
     OR OLD.state IN ('decided', 'withdrawn') AND to_jsonb(NEW) IS DISTINCT FROM to_jsonb(OLD) THEN
    RAISE EXCEPTION 'dispute % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'dispute_is_frozen', TABLE = 'billing_dispute';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER dispute_moves BEFORE INSERT OR UPDATE ON billing_dispute FOR EACH ROW EXECUTE FUNCTION billing_check_dispute();
ALTER TABLE billing_dispute ENABLE ALWAYS TRIGGER dispute_moves;

-- 2. A dispute is the sum of its charges, which are open exactly as long as it is: checked when the transaction commits.
CREATE FUNCTION billing_check_dispute_sum() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  found record;
  told record;
BEGIN
  SELECT * INTO told FROM billing_dispute WHERE id = NEW.id;
  SELECT count(*) AS charges, coalesce(sum(micros), 0) AS micros, coalesce(sum(awarded_micros), 0) AS awarded,
         coalesce(bool_and(state = CASE WHEN told.state IN ('open', 'answered') THEN 'open' ELSE told.state END), false) AS agrees
    INTO found FROM billing_disputedcharge WHERE dispute_id = NEW.id;
  IF NOT found.agrees OR (found.charges, found.micros, found.awarded) IS DISTINCT FROM
     (told.charges_count::bigint, told.disputed_micros::numeric, told.awarded_micros::numeric) THEN
    RAISE EXCEPTION 'dispute % is % and says % of %, its charges say % of %',
      NEW.id, told.state, told.awarded_micros, told.disputed_micros, found.awarded, found.micros
      USING ERRCODE = 'check_violation', CONSTRAINT = 'dispute_is_the_sum_of_its_charges', TABLE = 'billing_dispute';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER dispute_is_the_sum_of_its_charges AFTER INSERT OR UPDATE ON billing_dispute
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_dispute_sum();
ALTER TABLE billing_dispute ENABLE ALWAYS TRIGGER dispute_is_the_sum_of_its_charges;

-- 3. Charges come with an open dispute and are what the charge says; they end once, and a refund is of its charge.
CREATE FUNCTION billing_check_disputed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.id INTO wrong FROM changed
    LEFT JOIN billing_dispute dispute ON dispute.id = changed.dispute_id LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
    LEFT JOIN billing_charge refund ON refund.id = changed.refund_id
   WHERE dispute.id IS NULL OR charge.id IS NULL OR charge.payer <> 'user' OR charge.amount_micros <> changed.micros
      OR (charge.organization_id, charge.provider_id, charge.publisher_id, charge.currency) IS DISTINCT FROM
         (dispute.organization_id, dispute.provider_id, dispute.publisher_id, dispute.currency)
      OR TG_OP = 'INSERT' AND (dispute.state <> 'open' OR changed.state <> 'open')
      OR changed.refund_id IS NOT NULL AND (
           refund.kind IS DISTINCT FROM 'refund' OR refund.amount_micros <> -changed.awarded_micros
           OR -refund.provider_micros > charge.provider_micros OR -refund.publisher_micros > charge.publisher_micros
           OR -refund.platform_micros > charge.platform_micros
           OR (refund.task_id, refund.usage_id, refund.organization_id, refund.provider_id, refund.publisher_id, refund.currency)
              IS DISTINCT FROM
              (charge.task_id, charge.usage_id, charge.organization_id, charge.provider_id, charge.publisher_id, charge.currency))
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'disputed charge %: it is what its charge, its dispute and its refund say', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'disputed_charge_is_of_its_charge', TABLE = 'billing_disputedcharge';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER checked_insert AFTER INSERT ON billing_disputedcharge REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_disputed();
CREATE TRIGGER checked_update AFTER UPDATE ON billing_disputedcharge REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_disputed();
ALTER TABLE billing_disputedcharge ENABLE ALWAYS TRIGGER checked_insert;
ALTER TABLE billing_disputedcharge ENABLE ALWAYS TRIGGER checked_update;

CREATE FUNCTION billing_check_disputed_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'awarded_micros', 'refund_id', 'note_id'];
BEGIN
  IF OLD.state <> 'open' OR (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens) THEN
    RAISE EXCEPTION 'disputed charge % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'disputed_charge_is_frozen', TABLE = 'billing_disputedcharge';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER disputed_charge_is_frozen BEFORE UPDATE ON billing_disputedcharge
  FOR EACH ROW EXECUTE FUNCTION billing_check_disputed_change();
ALTER TABLE billing_disputedcharge ENABLE ALWAYS TRIGGER disputed_charge_is_frozen;

-- 4. No payout takes a share of a charge while it is disputed.
CREATE FUNCTION billing_check_undisputed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.charge_id INTO wrong FROM changed
    JOIN billing_disputedcharge disputed ON disputed.charge_id = changed.charge_id AND disputed.state = 'open' LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'charge % is disputed: it is not paid out', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_line_is_undisputed', TABLE = 'billing_payoutline';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER undisputed_insert AFTER INSERT ON billing_payoutline REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_undisputed();
CREATE TRIGGER undisputed_update AFTER UPDATE ON billing_payoutline REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_undisputed();
ALTER TABLE billing_payoutline ENABLE ALWAYS TRIGGER undisputed_insert;
ALTER TABLE billing_payoutline ENABLE ALWAYS TRIGGER undisputed_update;

-- 5. Nothing of this goes away; messages never change.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_disputemessage
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_disputemessage ENABLE ALWAYS TRIGGER append_only;
DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['billing_dispute', 'billing_disputedcharge'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE DELETE ON %I FOR EACH ROW EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
  END LOOP;
  FOREACH kept IN ARRAY ARRAY['billing_dispute', 'billing_disputedcharge', 'billing_disputemessage'] LOOP
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only_truncate', kept);
  END LOOP;
END $$;
