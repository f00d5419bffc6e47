DO $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT tgname, tgrelid::regclass AS place FROM pg_trigger
     WHERE NOT tgisinternal AND tgrelid IN (
       'billing_billingperiod'::regclass, 'billing_series'::regclass, 'billing_invoice'::regclass, 'billing_invoiceline'::regclass,
       'billing_invoicetax'::regclass, 'billing_invoicedcharge'::regclass, 'billing_creditnote'::regclass,
       'billing_creditnoteline'::regclass, 'billing_payment'::regclass, 'billing_paymentallocation'::regclass,
       'billing_bankstatement'::regclass, 'billing_bankline'::regclass, 'billing_gatewaypayment'::regclass,
       'billing_dunningnotice'::regclass)
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.place);
  END LOOP;
END $$;
ALTER TABLE billing_billingperiod DROP CONSTRAINT periods_do_not_overlap;
DROP FUNCTION billing_currency_number(text);
DROP FUNCTION billing_check_bank_line();
DROP FUNCTION billing_keep_invoice();
DROP FUNCTION billing_check_total();
DROP FUNCTION billing_check_invoiced();
DROP FUNCTION billing_check_part();
DROP FUNCTION billing_check_new_invoice();
DROP FUNCTION billing_check_invoice();
DROP FUNCTION billing_check_series();
DROP FUNCTION billing_check_period();
