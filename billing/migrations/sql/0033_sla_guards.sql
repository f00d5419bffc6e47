-- What was promised, measured and given back stays. Terms may only end earlier than they would have, and never before they were told.
CREATE FUNCTION billing_check_sla_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (to_jsonb(NEW) - 'valid') IS DISTINCT FROM (to_jsonb(OLD) - 'valid') OR lower(NEW.valid) IS DISTINCT FROM lower(OLD.valid)
     OR upper(NEW.valid) IS NULL OR upper(NEW.valid) > upper(OLD.valid) THEN
    RAISE EXCEPTION 'SLA terms % say for ever what was promised: they are only ended', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'sla_terms_stay', TABLE = 'billing_slaterms';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER sla_terms_stay BEFORE UPDATE ON billing_slaterms FOR EACH ROW EXECUTE FUNCTION billing_check_sla_terms();
ALTER TABLE billing_slaterms ENABLE ALWAYS TRIGGER sla_terms_stay;

-- A credit is the charge that it says: of its measurement's customer, wholly the provider's.
CREATE FUNCTION billing_check_sla_credits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.id INTO wrong FROM changed
    JOIN billing_slameasurement measured ON measured.id = changed.measurement_id
    LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
   WHERE charge.kind IS DISTINCT FROM 'sla' OR charge.task_id IS DISTINCT FROM changed.task_id
      OR charge.organization_id IS DISTINCT FROM measured.organization_id OR charge.currency IS DISTINCT FROM measured.currency
      OR charge.provider_micros IS DISTINCT FROM charge.amount_micros LIMIT 1;
  IF NOT FOUND THEN
    SELECT measured.id INTO wrong FROM billing_slameasurement measured
      JOIN billing_slacredit credit ON credit.measurement_id = measured.id JOIN billing_charge charge ON charge.id = credit.charge_id
     WHERE measured.id IN (SELECT measurement_id FROM changed)
     GROUP BY measured.id HAVING sum(charge.amount_micros) < -measured.credit_micros LIMIT 1;
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'SLA credit %: it is of its measurement, its task and its charge', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'sla_credit_is_its_charge', TABLE = 'billing_slacredit';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER checked_insert AFTER INSERT ON billing_slacredit REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_sla_credits();
ALTER TABLE billing_slacredit ENABLE ALWAYS TRIGGER checked_insert;

DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['billing_sladay', 'billing_slameasurement', 'billing_slacredit'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
  END LOOP;
  CREATE TRIGGER append_only BEFORE DELETE ON billing_slaterms FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
  ALTER TABLE billing_slaterms ENABLE ALWAYS TRIGGER append_only;
  FOREACH kept IN ARRAY ARRAY['billing_slaterms', 'billing_sladay', 'billing_slameasurement', 'billing_slacredit'] LOOP
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only_truncate', kept);
  END LOOP;
END $$;

-- An invoice is the sum of its lines, whatever they are for; rounding is what makes the difference. Else as in 0012.
CREATE OR REPLACE FUNCTION billing_check_total() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  lines record;
  taxes numeric;
BEGIN
  SELECT coalesce(sum(amount_micros), 0) AS net, coalesce(sum(tax_micros), 0) AS tax,
         coalesce(sum(exact_micros) FILTER (WHERE kind NOT IN ('remainder', 'rounding')), 0) AS exact,
         coalesce(bool_or(amount_micros % NEW.minor_micros <> 0 OR tax_micros % NEW.minor_micros <> 0), false) AS broken
    INTO lines FROM billing_invoiceline WHERE invoice_id = NEW.id;
  SELECT coalesce(sum(amount_micros), 0) INTO taxes FROM billing_invoicetax WHERE invoice_id = NEW.id;
  IF lines.net <> NEW.net_micros OR lines.tax <> NEW.tax_micros OR taxes <> NEW.tax_micros OR lines.exact <> NEW.exact_micros
     OR lines.broken THEN
    RAISE EXCEPTION 'invoice % says % + % tax, its lines come to % + % tax, its taxes to %',
      NEW.number, NEW.net_micros, NEW.tax_micros, lines.net, lines.tax, taxes
      USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_is_the_sum_of_its_lines', TABLE = 'billing_invoice';
  END IF;
  RETURN NULL;
END $$;
