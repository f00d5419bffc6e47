DROP TRIGGER append_only_truncate ON billing_slaterms;
DROP TRIGGER append_only_truncate ON billing_sladay;
DROP TRIGGER append_only_truncate ON billing_slameasurement;
DROP TRIGGER append_only_truncate ON billing_slacredit;
DROP TRIGGER append_only ON billing_slaterms;
DROP TRIGGER append_only ON billing_sladay;
DROP TRIGGER append_only ON billing_slameasurement;
DROP TRIGGER append_only ON billing_slacredit;
DROP TRIGGER checked_insert ON billing_slacredit;
DROP FUNCTION billing_check_sla_credits();
DROP TRIGGER sla_terms_stay ON billing_slaterms;
DROP FUNCTION billing_check_sla_terms();
CREATE OR REPLACE FUNCTION billing_check_total() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  lines record;
  taxes numeric;
BEGIN
  SELECT coalesce(sum(amount_micros), 0) AS net, coalesce(sum(tax_micros), 0) AS tax,
         coalesce(sum(exact_micros) FILTER (WHERE kind IN ('usage', 'fee', 'period')), 0) AS exact,
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
