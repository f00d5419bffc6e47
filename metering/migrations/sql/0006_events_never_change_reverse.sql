DROP TRIGGER decide_once_truncate ON metering_quarantinedevent;
DROP TRIGGER decide_once ON metering_quarantinedevent;
DROP FUNCTION metering_decide_once();
DROP TRIGGER append_only_truncate ON metering_usagebatch;
DROP TRIGGER append_only ON metering_usagebatch;
DROP TRIGGER append_only_truncate ON metering_usageseries;
DROP TRIGGER append_only ON metering_usageseries;
DROP TRIGGER append_only_truncate ON metering_usageevent;
DROP TRIGGER append_only ON metering_usageevent;
