-- The transaction that posted an entry. A seal takes entries of transactions below a horizon only, so that none that
-- commits late can fall behind it. Entries that are there already belong to the transaction that adds the column.
ALTER TABLE billing_journalentry ADD COLUMN posted_by xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX journalentry_posted_by ON billing_journalentry (posted_by, id);

-- What is sealed never changes, nor what seals commit to: balances are a cache that may be lost, never one that may lie.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_ledgerseal
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_sealedentry
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_ledgerseal
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_sealedentry
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_accountbalance
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_accountbalance
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_ledgerseal ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_accountbalance ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_accountbalance ENABLE ALWAYS TRIGGER append_only_truncate;
ALTER TABLE billing_ledgerseal ENABLE ALWAYS TRIGGER append_only_truncate;
ALTER TABLE billing_sealedentry ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_sealedentry ENABLE ALWAYS TRIGGER append_only_truncate;

-- Accounts refused UPDATE and DELETE; TRUNCATE would have gone round that.
CREATE TRIGGER identity_stays_truncate BEFORE TRUNCATE ON billing_account
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_account ENABLE ALWAYS TRIGGER identity_stays_truncate;

-- A seal follows the last one: its number, its first place, and the hash it is chained to. `previous` is unique, so
-- that two at once cannot both follow.
CREATE FUNCTION billing_check_seal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT number, last, hash INTO before FROM billing_ledgerseal ORDER BY number DESC LIMIT 1;
  IF NOT FOUND THEN
    SELECT 0::bigint AS number, 0::bigint AS last, decode(repeat('00', 32), 'hex') AS hash INTO before;
  END IF;
  IF NEW.number <> before.number + 1 OR NEW.first <> before.last + 1 OR NEW.previous <> before.hash
     OR length(NEW.salt) <> 32 OR length(NEW.root) <> 32 OR length(NEW.hash) <> 32 THEN
    RAISE EXCEPTION 'seal % does not follow seal %', NEW.number, before.number
      USING ERRCODE = 'check_violation', CONSTRAINT = 'seal_follows', TABLE = 'billing_ledgerseal';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER seal_follows BEFORE INSERT ON billing_ledgerseal
  FOR EACH ROW EXECUTE FUNCTION billing_check_seal();
ALTER TABLE billing_ledgerseal ENABLE ALWAYS TRIGGER seal_follows;
