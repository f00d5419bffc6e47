DROP TRIGGER append_only_truncate ON metering_usagerecord;
DROP TRIGGER append_only ON metering_usagerecord;
DROP FUNCTION metering_refuse_change();
