-- Lines are what their charge says, be it of a task or of a month, or what was kept back or released. As in 0027 otherwise.
CREATE OR REPLACE FUNCTION billing_check_payout_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.share INTO wrong FROM changed
    LEFT JOIN billing_payout payout ON payout.id = changed.payout_id
    LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
    LEFT JOIN billing_periodcharge month ON month.id = changed.period_charge_id
    LEFT JOIN billing_reserverelease freed ON freed.id = changed.release_id
    LEFT JOIN billing_withholding held ON held.id = coalesce(changed.withholding_id, freed.withholding_id)
   WHERE payout.id IS NULL OR payout.state <> 'draft'
      OR payout.currency IS DISTINCT FROM coalesce(charge.currency, month.currency, held.currency)
      OR payout.organization_id IS DISTINCT FROM CASE WHEN changed.role = 'publisher' THEN charge.publisher_id
                                                      ELSE coalesce(charge.provider_id, month.provider_id, held.organization_id) END
      OR changed.amount_micros IS DISTINCT FROM CASE WHEN changed.role = 'publisher' THEN charge.publisher_micros
           WHEN changed.role = 'reserve' THEN -held.amount_micros
           ELSE coalesce(charge.provider_micros, month.provider_micros, freed.amount_micros) END
      OR changed.role = 'reserve' AND held.payout_id <> changed.payout_id
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

-- What is kept back is a line of its payout when the transaction that makes it commits.
CREATE FUNCTION billing_check_withholding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM billing_payoutline
                  WHERE share = -4000000000000000000 - NEW.id * 2 AND payout_id = NEW.payout_id AND amount_micros = -NEW.amount_micros)
  THEN
    RAISE EXCEPTION 'withholding % is no line of payout %', NEW.id, NEW.payout_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'withholding_is_a_line', TABLE = 'billing_withholding';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER withholding_is_a_line AFTER INSERT ON billing_withholding
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_check_withholding();
ALTER TABLE billing_withholding ENABLE ALWAYS TRIGGER withholding_is_a_line;

-- Only what is held is released: of a payout that is paid, and all releases together no more than was kept back.
CREATE FUNCTION billing_check_release() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  held billing_withholding;
  gone numeric;
BEGIN
  SELECT * INTO held FROM billing_withholding WHERE id = NEW.withholding_id FOR UPDATE;
  SELECT coalesce(sum(amount_micros), 0) INTO gone FROM billing_reserverelease WHERE withholding_id = NEW.withholding_id;
  IF gone + NEW.amount_micros > held.amount_micros OR NEW.kind = 'released' AND gone + NEW.amount_micros <> held.amount_micros
     OR NOT EXISTS (SELECT FROM billing_payout WHERE id = held.payout_id AND state = 'paid') THEN
    RAISE EXCEPTION 'of withholding % there is not % to be released', NEW.withholding_id, NEW.amount_micros
      USING ERRCODE = 'check_violation', CONSTRAINT = 'release_is_of_what_is_held', TABLE = 'billing_reserverelease';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER release_is_of_what_is_held BEFORE INSERT ON billing_reserverelease
  FOR EACH ROW EXECUTE FUNCTION billing_check_release();
ALTER TABLE billing_reserverelease ENABLE ALWAYS TRIGGER release_is_of_what_is_held;

-- Nothing of this ever changes.
DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['billing_reserveterms', 'billing_withholding', 'billing_reserverelease'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only_truncate', kept);
  END LOOP;
END $$;
