CREATE OR REPLACE FUNCTION billing_check_drawn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM changed JOIN billing_invoicedcharge invoiced ON invoiced.line_id = changed.id) THEN
    RAISE EXCEPTION 'a line with charges does not go away'
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'line_keeps_its_charges', TABLE = 'billing_invoiceline';
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER append_only_truncate ON billing_invoicedperiod;
DROP TRIGGER frozen_delete ON billing_invoicedperiod;
DROP TRIGGER frozen_move ON billing_invoicedperiod;
DROP TRIGGER frozen_update ON billing_invoicedperiod;
DROP TRIGGER frozen_insert ON billing_invoicedperiod;
