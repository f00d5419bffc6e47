-- The ledger's two promises, kept by PostgreSQL whatever the code does.
-- ENABLE ALWAYS: a plain trigger is skipped under session_replication_role = replica.

-- 1. What is posted never changes: corrections are new rows.
CREATE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege', HINT = 'post a correction instead';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_journalentry
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_leg
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_charge
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_journalentry
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_leg
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_charge
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();

ALTER TABLE billing_journalentry ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_journalentry ENABLE ALWAYS TRIGGER append_only_truncate;
ALTER TABLE billing_leg ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_leg ENABLE ALWAYS TRIGGER append_only_truncate;
ALTER TABLE billing_charge ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_charge ENABLE ALWAYS TRIGGER append_only_truncate;

-- An account's identity is part of every leg that was posted to it.
CREATE TRIGGER identity_stays BEFORE UPDATE OR DELETE ON billing_account
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_account ENABLE ALWAYS TRIGGER identity_stays;

-- 2. An entry balances, per currency, when its transaction commits. Integers, summed without a scale.
CREATE FUNCTION billing_check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong record;
BEGIN
  SELECT account.currency, sum(leg.debit_micros) AS debit, sum(leg.credit_micros) AS credit INTO wrong
    FROM billing_leg leg JOIN billing_account account ON account.id = leg.account_id
   WHERE leg.entry_id = NEW.entry_id
   GROUP BY account.currency
  HAVING sum(leg.debit_micros) <> sum(leg.credit_micros)
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'journal entry % does not balance: % debit, % credit (micros of %)',
      NEW.entry_id, wrong.debit, wrong.credit, wrong.currency
      USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_balances', TABLE = 'billing_leg';
  END IF;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER entry_balances AFTER INSERT ON billing_leg
  DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION billing_check_balance();
ALTER TABLE billing_leg ENABLE ALWAYS TRIGGER entry_balances;
