-- Corrections of events are facts, too: written once.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON metering_usagecorrection
  FOR EACH ROW EXECUTE FUNCTION metering_refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON metering_usagecorrection
  FOR EACH STATEMENT EXECUTE FUNCTION metering_refuse_change();
ALTER TABLE metering_usagecorrection ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE metering_usagecorrection ENABLE ALWAYS TRIGGER append_only_truncate;
