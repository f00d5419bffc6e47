DROP TRIGGER export_moves ON billing_export;
DROP FUNCTION billing_check_export();
