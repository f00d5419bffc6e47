-- A subscription ends once and never begins anew: what was agreed for the past stays agreed.
CREATE FUNCTION billing_check_subscription() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND upper_inf(OLD.valid) AND NOT upper_inf(NEW.valid) AND lower(NEW.valid) = lower(OLD.valid)
     AND to_jsonb(NEW) - '{valid,ended_by_id}'::text[] = to_jsonb(OLD) - '{valid,ended_by_id}'::text[] THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'subscription % is only ended, once', OLD.id
    USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'subscription_ends_once', TABLE = 'billing_subscription';
END $$;
CREATE TRIGGER subscription_ends_once BEFORE UPDATE OR DELETE ON billing_subscription
  FOR EACH ROW EXECUTE FUNCTION billing_check_subscription();
ALTER TABLE billing_subscription ENABLE ALWAYS TRIGGER subscription_ends_once;
