DROP TRIGGER subscription_ends_once ON billing_subscription;
DROP FUNCTION billing_check_subscription();
