-- What was reversed so far was reversed whole. The rows never change: this once they learn a column.
ALTER TABLE billing_paymentreversal DISABLE TRIGGER append_only;
UPDATE billing_paymentreversal reversal
   SET amount_micros = CASE WHEN reversal.with_payment_id IS NULL THEN payment.amount_micros
                            ELSE (SELECT sum(gone.amount_micros) FROM billing_reversedallocation gone
                                   WHERE gone.reversal_id = reversal.id) END
  FROM billing_payment payment WHERE payment.id = reversal.payment_id;
ALTER TABLE billing_paymentreversal ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE billing_paymentreversal ALTER amount_micros SET NOT NULL;

-- No more of a payment is taken back than came in.
CREATE FUNCTION billing_check_reversal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.amount_micros > (SELECT amount_micros FROM billing_payment WHERE id = NEW.payment_id) THEN
    RAISE EXCEPTION 'of payment % there is less than %', NEW.payment_id, NEW.amount_micros
      USING ERRCODE = 'check_violation', CONSTRAINT = 'reversal_within_payment', TABLE = 'billing_paymentreversal';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER reversal_within_payment BEFORE INSERT ON billing_paymentreversal
  FOR EACH ROW EXECUTE FUNCTION billing_check_reversal();
ALTER TABLE billing_paymentreversal ENABLE ALWAYS TRIGGER reversal_within_payment;
