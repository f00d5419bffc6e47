DO $$
DECLARE
  found record;
BEGIN
  FOR found IN
    SELECT tgname, tgrelid::regclass AS place FROM pg_trigger
     WHERE NOT tgisinternal AND tgrelid IN (
       'billing_payoutrun'::regclass, 'billing_payout'::regclass, 'billing_payoutline'::regclass,
       'billing_payoutattempt'::regclass, 'billing_sandboxtransfer'::regclass)
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.place);
  END LOOP;
END $$;
DROP FUNCTION billing_check_payout_attempt();
DROP FUNCTION billing_check_payout_leaving();
DROP FUNCTION billing_check_payout_lines();
DROP FUNCTION billing_check_payout_sum();
DROP FUNCTION billing_check_payout();
