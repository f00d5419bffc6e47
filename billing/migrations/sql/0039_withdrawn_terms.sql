-- Terms may only end earlier than they would have, or be withdrawn before they begin; what is withdrawn stays so.
CREATE OR REPLACE FUNCTION billing_check_sla_terms() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  same boolean := (to_jsonb(NEW) - '{valid,withdrawn_at,withdrawn_by_id}'::text[])
                  IS NOT DISTINCT FROM (to_jsonb(OLD) - '{valid,withdrawn_at,withdrawn_by_id}'::text[]);
  ended boolean := NEW.withdrawn_at IS NULL AND NEW.withdrawn_by_id IS NULL AND lower(NEW.valid) = lower(OLD.valid)
                   AND upper(NEW.valid) IS NOT NULL AND coalesce(upper(NEW.valid) <= upper(OLD.valid), true);
  withdrawn boolean := NEW.withdrawn_at IS NOT NULL AND NEW.valid = OLD.valid;
BEGIN
  IF NOT same OR OLD.withdrawn_at IS NOT NULL OR NOT (ended OR withdrawn) THEN
    RAISE EXCEPTION 'SLA terms % say for ever what was promised: they are only ended, or withdrawn before they begin', OLD.id
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'sla_terms_stay', TABLE = 'billing_slaterms';
  END IF;
  RETURN NEW;
END $$;
