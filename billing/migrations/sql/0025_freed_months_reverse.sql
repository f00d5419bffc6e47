DROP TRIGGER append_only ON billing_freedperiod;
DROP TRIGGER append_only_truncate ON billing_freedperiod;
CREATE OR REPLACE FUNCTION billing_check_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.organization_id, NEW.currency, NEW.starts_at, NEW.ends_at) IS DISTINCT FROM
     (OLD.organization_id, OLD.currency, OLD.starts_at, OLD.ends_at) OR OLD.state = 'closed' AND
     (NEW.state, NEW.cutoff, NEW.zone) IS DISTINCT FROM (OLD.state, OLD.cutoff, OLD.zone) THEN
    RAISE EXCEPTION 'billing period % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'period_stays', TABLE = 'billing_billingperiod';
  END IF;
  RETURN NEW;
END $$;
