DROP TRIGGER append_only_truncate ON metering_usagecorrection;
DROP TRIGGER append_only ON metering_usagecorrection;
