DROP TRIGGER entry_is_open ON billing_leg;
DROP FUNCTION billing_check_open();
