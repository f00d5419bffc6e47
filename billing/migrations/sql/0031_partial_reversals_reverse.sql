DROP TRIGGER reversal_within_payment ON billing_paymentreversal;
DROP FUNCTION billing_check_reversal();
