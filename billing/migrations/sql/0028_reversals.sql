-- A paid invoice is owed again only together with the rows that say which payment was reversed: what is paid is then exactly what
-- allocations, credit notes and reversals leave. All else as in 0012_invoice_guards.sql.
CREATE OR REPLACE FUNCTION billing_check_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'paid_micros', 'credited_micros', 'ended_at', 'reason'];
  falls constant boolean := NEW.paid_micros + NEW.credited_micros < OLD.paid_micros + OLD.credited_micros;
BEGIN
  IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
       ('gathering', 'draft'), ('draft', 'grace'), ('grace', 'finalized'),
       ('finalized', 'paid'), ('finalized', 'overdue'), ('finalized', 'void'),
       ('overdue', 'paid'), ('overdue', 'void'), ('overdue', 'uncollectible'),
       ('paid', 'finalized'), ('paid', 'overdue')) OR OLD.state = 'paid' AND NEW.state <> 'paid' AND NOT falls THEN
    RAISE EXCEPTION 'invoice % may not go from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_moves', TABLE = 'billing_invoice';
  END IF;
  IF (NEW.period_id, NEW.organization_id, NEW.currency) IS DISTINCT FROM (OLD.period_id, OLD.organization_id, OLD.currency)
     OR OLD.number IS NOT NULL AND (
       (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens)
       -- what was paid may only turn into what was credited, or be reversed
       OR NEW.credited_micros < OLD.credited_micros
       OR falls AND NEW.paid_micros <> billing_stands_paid(OLD.id)
       OR OLD.state IN ('void', 'uncollectible') AND to_jsonb(NEW) IS DISTINCT FROM to_jsonb(OLD)) THEN
    RAISE EXCEPTION 'invoice % is %: this change is refused', coalesce(OLD.number, OLD.id::text), OLD.state
      USING ERRCODE = 'insufficient_privilege', HINT = 'issue a credit note instead', TABLE = 'billing_invoice',
            CONSTRAINT = 'invoice_is_frozen';
  END IF;
  RETURN NEW;
END $$;

-- What allocations paid of an invoice, less what credit notes made prepaid balance of it, less what was reversed.
CREATE FUNCTION billing_stands_paid(invoice bigint) RETURNS numeric LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT sum(amount_micros) FROM billing_paymentallocation WHERE invoice_id = invoice), 0)
       - coalesce((SELECT sum(prepaid_micros) FROM billing_creditnote WHERE invoice_id = invoice), 0)
       - coalesce((SELECT sum(gone.amount_micros) FROM billing_reversedallocation gone
                     JOIN billing_paymentallocation paid ON paid.id = gone.allocation_id WHERE paid.invoice_id = invoice), 0)
$$;

DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['billing_paymentreversal', 'billing_reversedallocation'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only_truncate', kept);
  END LOOP;
END $$;
