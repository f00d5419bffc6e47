-- What was uploaded and what came out of a run are never changed.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_reconciliation
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_reconciliation
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
ALTER TABLE metering_reconciliation ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_reconciliation ENABLE ALWAYS TRIGGER append_only_truncate;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_reportedcounter
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_reportedcounter
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
ALTER TABLE metering_reportedcounter ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_reportedcounter ENABLE ALWAYS TRIGGER append_only_truncate;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_reconciliationrun
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_reconciliationrun
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
ALTER TABLE metering_reconciliationrun ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_reconciliationrun ENABLE ALWAYS TRIGGER append_only_truncate;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_reconciliationrow
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_reconciliationrow
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
ALTER TABLE metering_reconciliationrow ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_reconciliationrow ENABLE ALWAYS TRIGGER append_only_truncate;
