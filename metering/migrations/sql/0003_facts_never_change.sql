-- Usage records are facts: written once. A correction is a new row with a higher revision.
-- ENABLE ALWAYS: a plain trigger is skipped under session_replication_role = replica.
CREATE FUNCTION metering_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege', HINT = 'write a correction instead';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_usagerecord
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_usagerecord
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();

ALTER TABLE metering_usagerecord ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_usagerecord ENABLE ALWAYS TRIGGER append_only_truncate;
