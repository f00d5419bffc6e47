DROP TRIGGER undisputed_insert ON billing_payoutline;
DROP TRIGGER undisputed_update ON billing_payoutline;
DROP FUNCTION billing_check_undisputed();
DO $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT tgname, tgrelid::regclass AS place FROM pg_trigger
     WHERE NOT tgisinternal AND tgrelid IN (
       'billing_dispute'::regclass, 'billing_disputedcharge'::regclass, 'billing_disputemessage'::regclass)
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.place);
  END LOOP;
END $$;
DROP FUNCTION billing_check_disputed_change();
DROP FUNCTION billing_check_disputed();
DROP FUNCTION billing_check_dispute_sum();
DROP FUNCTION billing_check_dispute();
