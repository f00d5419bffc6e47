-- A revision goes on from the one before, be it of usage or a refund: the total is never below zero (a CHECK), so that no month
-- gives back more than it came to. As in 0013, where months were not disputed.
CREATE OR REPLACE FUNCTION billing_check_revision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT subject_id, period, total_micros INTO before FROM billing_periodcharge
   WHERE CASE WHEN NEW.revision = 1 THEN id = NEW.base_id ELSE base_id = NEW.base_id AND revision = NEW.revision - 1 END;
  IF NOT FOUND OR before.subject_id <> NEW.subject_id OR before.period <> NEW.period
     OR before.total_micros + NEW.amount_micros <> NEW.total_micros
     OR NEW.refunds_id IS NOT NULL AND NOT EXISTS (
          SELECT FROM billing_periodcharge WHERE id = NEW.refunds_id AND coalesce(base_id, id) = NEW.base_id
             AND refunds_id IS NULL AND payer = 'user' AND amount_micros >= -NEW.amount_micros) THEN
    RAISE EXCEPTION 'revision % of period charge % does not go on from the one before', NEW.revision, NEW.base_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'period_revision_follows', TABLE = 'billing_periodcharge';
  END IF;
  RETURN NEW;
END $$;

-- What is disputed may be of a month. As in 0026 otherwise.
CREATE OR REPLACE FUNCTION billing_check_disputed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.id INTO wrong FROM changed
    LEFT JOIN billing_dispute dispute ON dispute.id = changed.dispute_id LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
    LEFT JOIN billing_charge refund ON refund.id = changed.refund_id
   WHERE changed.period_charge_id IS NULL AND (
         dispute.id IS NULL OR charge.id IS NULL OR charge.payer <> 'user' OR charge.amount_micros <> changed.micros
      OR (charge.organization_id, charge.provider_id, charge.publisher_id, charge.currency) IS DISTINCT FROM
         (dispute.organization_id, dispute.provider_id, dispute.publisher_id, dispute.currency)
      OR TG_OP = 'INSERT' AND (dispute.state <> 'open' OR changed.state <> 'open')
      OR changed.refund_id IS NOT NULL AND (
           refund.kind IS DISTINCT FROM 'refund' OR refund.amount_micros <> -changed.awarded_micros
           OR -refund.provider_micros > charge.provider_micros OR -refund.publisher_micros > charge.publisher_micros
           OR -refund.platform_micros > charge.platform_micros
           OR (refund.task_id, refund.usage_id, refund.organization_id, refund.provider_id, refund.publisher_id, refund.currency)
              IS DISTINCT FROM
              (charge.task_id, charge.usage_id, charge.organization_id, charge.provider_id, charge.publisher_id, charge.currency)))
   LIMIT 1;
  IF NOT FOUND THEN
    SELECT changed.id INTO wrong FROM changed
      LEFT JOIN billing_dispute dispute ON dispute.id = changed.dispute_id
      LEFT JOIN billing_periodcharge charge ON charge.id = changed.period_charge_id
      LEFT JOIN billing_periodcharge refund ON refund.id = changed.period_refund_id
     WHERE changed.period_charge_id IS NOT NULL AND (
           dispute.id IS NULL OR charge.id IS NULL OR charge.payer <> 'user' OR charge.amount_micros <> changed.micros
        OR (charge.organization_id, charge.provider_id, NULL::bigint, charge.currency) IS DISTINCT FROM
           (dispute.organization_id, dispute.provider_id, dispute.publisher_id, dispute.currency)
        OR TG_OP = 'INSERT' AND (dispute.state <> 'open' OR changed.state <> 'open')
        OR changed.period_refund_id IS NOT NULL AND (
             refund.refunds_id IS DISTINCT FROM charge.id OR refund.amount_micros <> -changed.awarded_micros))
     LIMIT 1;
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'disputed charge %: it is what its charge, its dispute and its refund say', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'disputed_charge_is_of_its_charge', TABLE = 'billing_disputedcharge';
  END IF;
  RETURN NULL;
END $$;

-- No payout takes a share of a charge while it is disputed, be it of a task or of a month.
CREATE OR REPLACE FUNCTION billing_check_undisputed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.share INTO wrong FROM changed
    JOIN billing_disputedcharge disputed ON disputed.charge_id = changed.charge_id AND disputed.state = 'open' LIMIT 1;
  IF NOT FOUND THEN
    SELECT changed.share INTO wrong FROM changed
      JOIN billing_disputedcharge disputed ON disputed.period_charge_id = changed.period_charge_id AND disputed.state = 'open' LIMIT 1;
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'share %: its charge is disputed: it is not paid out', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_line_is_undisputed', TABLE = 'billing_payoutline';
  END IF;
  RETURN NULL;
END $$;

-- What the disputed charge, its guard against a second change, may get when it is decided.
CREATE OR REPLACE FUNCTION billing_check_disputed_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'awarded_micros', 'refund_id', 'period_refund_id', 'note_id'];
BEGIN
  IF OLD.state <> 'open' OR (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens) THEN
    RAISE EXCEPTION 'disputed charge % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'disputed_charge_is_frozen', TABLE = 'billing_disputedcharge';
  END IF;
  RETURN NEW;
END $$;
