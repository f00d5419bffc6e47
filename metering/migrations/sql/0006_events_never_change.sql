-- Events, their series and batches are facts: written once.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_usageevent
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_usageevent
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_usageseries
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_usageseries
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_usagebatch
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_usagebatch
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();

ALTER TABLE metering_usageevent ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_usageevent ENABLE ALWAYS TRIGGER append_only_truncate;
ALTER TABLE metering_usageseries ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_usageseries ENABLE ALWAYS TRIGGER append_only_truncate;
ALTER TABLE metering_usagebatch ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_usagebatch ENABLE ALWAYS TRIGGER append_only_truncate;

-- A quarantined event is decided once; nothing else of it changes (QuarantinedEvent.MOVES).
CREATE FUNCTION metering_decide_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP <> 'UPDATE' THEN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF OLD.state <> 'open' OR NEW.state NOT IN ('accepted', 'refused')
     OR to_jsonb(OLD) - '{state,decided_at,decided_by_id}'::text[] <> to_jsonb(NEW) - '{state,decided_at,decided_by_id}'::text[] THEN
    RAISE EXCEPTION '% is append-only but for one decision: % to % is refused', TG_TABLE_NAME, OLD.state, NEW.state
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER decide_once BEFORE UPDATE OR DELETE ON metering_quarantinedevent
  FOR EACH ROW EXECUTE FUNCTION metering_decide_once();
CREATE TRIGGER decide_once_truncate BEFORE TRUNCATE ON metering_quarantinedevent
  FOR EACH STATEMENT EXECUTE FUNCTION metering_decide_once();
ALTER TABLE metering_quarantinedevent ENABLE ALWAYS TRIGGER decide_once;
ALTER TABLE metering_quarantinedevent ENABLE ALWAYS TRIGGER decide_once_truncate;
