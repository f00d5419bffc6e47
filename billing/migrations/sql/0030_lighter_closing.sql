ALTER TABLE billing_billingperiod SET (fillfactor = 50);
ALTER TABLE billing_invoice SET (fillfactor = 60);

CREATE OR REPLACE FUNCTION billing_check_invoiced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  frozen text;
BEGIN
  -- a void invoice gives its charges to the one that takes its place; nothing is ever added to it
  SELECT coalesce(invoice.number, 'that is not there') INTO frozen FROM (SELECT DISTINCT line_id FROM changed) changed
    LEFT JOIN billing_invoiceline line ON line.id = changed.line_id LEFT JOIN billing_invoice invoice ON invoice.id = line.invoice_id
   WHERE invoice.id IS NULL OR invoice.number IS NOT NULL AND NOT (TG_ARGV[0] = 'leaves' AND invoice.state = 'void') LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invoice % is final: % of % is refused', frozen, TG_OP, TG_TABLE_NAME
      USING ERRCODE = 'insufficient_privilege', HINT = 'issue a credit note instead', CONSTRAINT = 'invoice_is_frozen';
  END IF;
  RETURN NULL;
END $$;
