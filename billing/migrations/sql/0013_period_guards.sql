-- What is charged for a month never changes: a correction is a revision, which goes on from the one before.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_periodcharge
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_periodcharge
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_periodsubject
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON billing_periodsubject
  FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
ALTER TABLE billing_periodcharge ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_periodcharge ENABLE ALWAYS TRIGGER append_only_truncate;
ALTER TABLE billing_periodsubject ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_periodsubject ENABLE ALWAYS TRIGGER append_only_truncate;

CREATE FUNCTION billing_check_revision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT subject_id, period, total_micros INTO before FROM billing_periodcharge
   WHERE CASE WHEN NEW.revision = 1 THEN id = NEW.base_id ELSE base_id = NEW.base_id AND revision = NEW.revision - 1 END;
  IF NOT FOUND OR before.subject_id <> NEW.subject_id OR before.period <> NEW.period
     OR before.total_micros + NEW.amount_micros <> NEW.total_micros THEN
    RAISE EXCEPTION 'revision % of period charge % does not go on from the one before', NEW.revision, NEW.base_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'period_revision_follows', TABLE = 'billing_periodcharge';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER period_revision_follows BEFORE INSERT ON billing_periodcharge
  FOR EACH ROW WHEN (NEW.revision > 0) EXECUTE FUNCTION billing_check_revision();
ALTER TABLE billing_periodcharge ENABLE ALWAYS TRIGGER period_revision_follows;

-- What is parked is decided once; what was parked stays as it was.
CREATE FUNCTION billing_check_parked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND OLD.state = 'open' AND NEW.state IN ('approved', 'refused')
     AND to_jsonb(NEW) - '{state,decided_at,decided_by_id,note}'::text[]
         = to_jsonb(OLD) - '{state,decided_at,decided_by_id,note}'::text[] THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'parked amount % is decided once and never changed', OLD.id
    USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'parked_decided_once', TABLE = 'billing_parkedperiod';
END $$;
CREATE TRIGGER parked_decided_once BEFORE UPDATE OR DELETE ON billing_parkedperiod
  FOR EACH ROW EXECUTE FUNCTION billing_check_parked();
ALTER TABLE billing_parkedperiod ENABLE ALWAYS TRIGGER parked_decided_once;
