DROP TRIGGER append_only ON billing_periodcharge;
DROP TRIGGER append_only_truncate ON billing_periodcharge;
DROP TRIGGER append_only ON billing_periodsubject;
DROP TRIGGER append_only_truncate ON billing_periodsubject;
DROP TRIGGER period_revision_follows ON billing_periodcharge;
DROP FUNCTION billing_check_revision();
DROP TRIGGER parked_decided_once ON billing_parkedperiod;
DROP FUNCTION billing_check_parked();
