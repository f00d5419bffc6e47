-- What charges of whole months stand in is kept as what those of tasks stand in is.
CREATE TRIGGER frozen_insert AFTER INSERT ON billing_invoicedperiod REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('joins');
CREATE TRIGGER frozen_update AFTER UPDATE ON billing_invoicedperiod REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('leaves');
CREATE TRIGGER frozen_move AFTER UPDATE ON billing_invoicedperiod REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('joins');
CREATE TRIGGER frozen_delete AFTER DELETE ON billing_invoicedperiod REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('leaves');
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_invoicedperiod
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_invoicedperiod ENABLE ALWAYS TRIGGER frozen_insert;
ALTER TABLE billing_invoicedperiod ENABLE ALWAYS TRIGGER frozen_update;
ALTER TABLE billing_invoicedperiod ENABLE ALWAYS TRIGGER frozen_move;
ALTER TABLE billing_invoicedperiod ENABLE ALWAYS TRIGGER frozen_delete;
ALTER TABLE billing_invoicedperiod ENABLE ALWAYS TRIGGER append_only_truncate;

CREATE OR REPLACE FUNCTION billing_check_drawn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM changed JOIN billing_invoicedcharge invoiced ON invoiced.line_id = changed.id)
     OR EXISTS (SELECT FROM changed JOIN billing_invoicedperiod invoiced ON invoiced.line_id = changed.id) THEN
    RAISE EXCEPTION 'a line with charges does not go away'
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'line_keeps_its_charges', TABLE = 'billing_invoiceline';
  END IF;
  RETURN NULL;
END $$;
