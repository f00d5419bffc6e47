CREATE OR REPLACE FUNCTION billing_check_sla_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (to_jsonb(NEW) - 'valid') IS DISTINCT FROM (to_jsonb(OLD) - 'valid') OR lower(NEW.valid) IS DISTINCT FROM lower(OLD.valid)
     OR upper(NEW.valid) IS NULL OR upper(NEW.valid) > upper(OLD.valid) THEN
    RAISE EXCEPTION 'SLA terms % say for ever what was promised: they are only ended', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'sla_terms_stay', TABLE = 'billing_slaterms';
  END IF;
  RETURN NEW;
END $$;
