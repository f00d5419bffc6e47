DROP TRIGGER append_only_truncate ON metering_reconciliationrow;
DROP TRIGGER append_only ON metering_reconciliationrow;
DROP TRIGGER append_only_truncate ON metering_reconciliationrun;
DROP TRIGGER append_only ON metering_reconciliationrun;
DROP TRIGGER append_only_truncate ON metering_reportedcounter;
DROP TRIGGER append_only ON metering_reportedcounter;
DROP TRIGGER append_only_truncate ON metering_reconciliation;
DROP TRIGGER append_only ON metering_reconciliation;
