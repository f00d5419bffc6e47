-- An export begins as requested, makes only moves that there are, and says for ever what it is of. ENABLE ALWAYS, as for the ledger.
CREATE FUNCTION billing_check_export() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'tries', 'lease_until', 'estimated', 'rows', 'bytes', 'sha256', 'reason', 'started_at',
                                   'ended_at', 'expires_at'];
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'requested' THEN
      RAISE EXCEPTION 'an export begins as requested'
        USING ERRCODE = 'check_violation', CONSTRAINT = 'export_moves', TABLE = 'billing_export';
    END IF;
    RETURN NEW;
  END IF;
  IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
       ('requested', 'running'), ('running', 'ready'), ('running', 'failed'), ('ready', 'expired')) THEN
    RAISE EXCEPTION 'export % may not go from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'export_moves', TABLE = 'billing_export';
  END IF;
  IF (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens) OR NEW.tries < OLD.tries
     OR OLD.state IN ('ready', 'failed', 'expired') AND (to_jsonb(NEW) - 'state') IS DISTINCT FROM (to_jsonb(OLD) - 'state') THEN
    RAISE EXCEPTION 'export % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'export_is_frozen', TABLE = 'billing_export';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER export_moves BEFORE INSERT OR UPDATE ON billing_export FOR EACH ROW EXECUTE FUNCTION billing_check_export();
ALTER TABLE billing_export ENABLE ALWAYS TRIGGER export_moves;
