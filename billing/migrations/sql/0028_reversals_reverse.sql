DROP TRIGGER append_only_truncate ON billing_reversedallocation;
DROP TRIGGER append_only ON billing_reversedallocation;
DROP TRIGGER append_only_truncate ON billing_paymentreversal;
DROP TRIGGER append_only ON billing_paymentreversal;
CREATE OR REPLACE FUNCTION billing_check_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'paid_micros', 'credited_micros', 'ended_at', 'reason'];
BEGIN
  IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
       ('gathering', 'draft'), ('draft', 'grace'), ('grace', 'finalized'),
       ('finalized', 'paid'), ('finalized', 'overdue'), ('finalized', 'void'),
       ('overdue', 'paid'), ('overdue', 'void'), ('overdue', 'uncollectible')) THEN
    RAISE EXCEPTION 'invoice % may not go from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_moves', TABLE = 'billing_invoice';
  END IF;
  IF (NEW.period_id, NEW.organization_id, NEW.currency) IS DISTINCT FROM (OLD.period_id, OLD.organization_id, OLD.currency)
     OR OLD.number IS NOT NULL AND (
       (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens)
       -- what was paid may only turn into what was credited
       OR NEW.credited_micros < OLD.credited_micros
       OR NEW.paid_micros + NEW.credited_micros < OLD.paid_micros + OLD.credited_micros
       OR OLD.state IN ('void', 'uncollectible') AND to_jsonb(NEW) IS DISTINCT FROM to_jsonb(OLD)) THEN
    RAISE EXCEPTION 'invoice % is %: this change is refused', coalesce(OLD.number, OLD.id::text), OLD.state
      USING ERRCODE = 'insufficient_privilege', HINT = 'issue a credit note instead', TABLE = 'billing_invoice',
            CONSTRAINT = 'invoice_is_frozen';
  END IF;
  RETURN NEW;
END $$;
DROP FUNCTION billing_stands_paid(bigint);
