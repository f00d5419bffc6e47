DROP TRIGGER append_only_truncate ON billing_grant;
DROP TRIGGER append_only_truncate ON billing_grantmove;
DROP TRIGGER append_only ON billing_grantmove;
DROP TRIGGER grant_begins_whole ON billing_grant;
DROP TRIGGER grant_stays ON billing_grant;
DROP TRIGGER grants_move ON billing_grantmove;
DROP FUNCTION billing_check_new_grant();
DROP FUNCTION billing_check_grant();
DROP FUNCTION billing_grants_move();
