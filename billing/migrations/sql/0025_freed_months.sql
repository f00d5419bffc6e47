-- A month moves only along the arrows of billing/invoices/freeing.py; it is freed only with the row that says why.
CREATE OR REPLACE FUNCTION billing_check_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.organization_id, NEW.currency, NEW.starts_at, NEW.ends_at) IS DISTINCT FROM
     (OLD.organization_id, OLD.currency, OLD.starts_at, OLD.ends_at) OR OLD.state = 'closed' AND
     (NEW.state, NEW.cutoff, NEW.zone) IS DISTINCT FROM (OLD.state, OLD.cutoff, OLD.zone) OR
     NEW.freed_count <> OLD.freed_count + (OLD.state = 'parked' AND NEW.state = 'open')::int OR
     NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (('open', 'closed'), ('open', 'parked'), ('parked', 'open')) THEN
    RAISE EXCEPTION 'billing period % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'period_stays', TABLE = 'billing_billingperiod';
  END IF;
  IF OLD.state = 'parked' AND NEW.state = 'open' AND NOT EXISTS (
       SELECT FROM billing_freedperiod freed WHERE freed.period_id = OLD.id AND freed.number = NEW.freed_count) THEN
    RAISE EXCEPTION 'billing period % is parked: nobody says why it is freed', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'period_freed_for_a_reason', TABLE = 'billing_billingperiod';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_freedperiod
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_freedperiod ENABLE ALWAYS TRIGGER append_only;
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_freedperiod
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_freedperiod ENABLE ALWAYS TRIGGER append_only_truncate;
