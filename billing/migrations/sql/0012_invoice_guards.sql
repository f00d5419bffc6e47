-- What PostgreSQL keeps of invoices, whatever the code does. ENABLE ALWAYS, as for the ledger.

-- 1. Months of an account never overlap. A currency is a number here, as there is no btree_gist.
CREATE FUNCTION billing_currency_number(currency text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
  $$ SELECT ascii(currency)::bigint * 65536 + ascii(substr(currency, 2)) * 256 + ascii(substr(currency, 3)) $$;
ALTER TABLE billing_billingperiod ADD CONSTRAINT periods_do_not_overlap EXCLUDE USING gist (
  int8range(organization_id, organization_id, '[]') WITH &&,
  int8range(billing_currency_number(currency), billing_currency_number(currency), '[]') WITH &&,
  tstzrange(starts_at, ends_at) WITH &&);

-- 2. A month keeps its bounds; once closed it stays closed, with the cutoff that it was closed with.
CREATE FUNCTION billing_check_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.organization_id, NEW.currency, NEW.starts_at, NEW.ends_at) IS DISTINCT FROM
     (OLD.organization_id, OLD.currency, OLD.starts_at, OLD.ends_at) OR OLD.state = 'closed' AND
     (NEW.state, NEW.cutoff, NEW.zone) IS DISTINCT FROM (OLD.state, OLD.cutoff, OLD.zone) THEN
    RAISE EXCEPTION 'billing period % is %: this change is refused', OLD.id, OLD.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'period_stays', TABLE = 'billing_billingperiod';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER period_stays BEFORE UPDATE ON billing_billingperiod FOR EACH ROW EXECUTE FUNCTION billing_check_period();
ALTER TABLE billing_billingperiod ENABLE ALWAYS TRIGGER period_stays;

-- 3. Numbers only ever grow, by as many as one transaction takes.
CREATE FUNCTION billing_check_series() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.last < OLD.last OR (NEW.issuer, NEW.kind, NEW.year) IS DISTINCT FROM (OLD.issuer, OLD.kind, OLD.year) THEN
    RAISE EXCEPTION 'series % only grows', OLD.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'series_grows', TABLE = 'billing_series';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER series_grows BEFORE UPDATE ON billing_series FOR EACH ROW EXECUTE FUNCTION billing_check_series();
ALTER TABLE billing_series ENABLE ALWAYS TRIGGER series_grows;

-- 4. An invoice makes only moves that there are, and freezes when it is final: then only what happens to it may change.
CREATE FUNCTION billing_check_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  happens constant text[] := ARRAY['state', 'paid_micros', 'credited_micros', 'ended_at', 'reason'];
BEGIN
  IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (
       ('gathering', 'draft'), ('draft', 'grace'), ('grace', 'finalized'),
       ('finalized', 'paid'), ('finalized', 'overdue'), ('finalized', 'void'),
       ('overdue', 'paid'), ('overdue', 'void'), ('overdue', 'uncollectible')) THEN
    RAISE EXCEPTION 'invoice % may not go from % to %', OLD.id, OLD.state, NEW.state
      USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_moves', TABLE = 'billing_invoice';
  END IF;
  IF (NEW.period_id, NEW.organization_id, NEW.currency) IS DISTINCT FROM (OLD.period_id, OLD.organization_id, OLD.currency)
     OR OLD.number IS NOT NULL AND (
       (to_jsonb(NEW) - happens) IS DISTINCT FROM (to_jsonb(OLD) - happens)
       -- what was paid may only turn into what was credited
       OR NEW.credited_micros < OLD.credited_micros
       OR NEW.paid_micros + NEW.credited_micros < OLD.paid_micros + OLD.credited_micros
       OR OLD.state IN ('void', 'uncollectible') AND to_jsonb(NEW) IS DISTINCT FROM to_jsonb(OLD)) THEN
    RAISE EXCEPTION 'invoice % is %: this change is refused', coalesce(OLD.number, OLD.id::text), OLD.state
      USING ERRCODE = 'insufficient_privilege', HINT = 'issue a credit note instead', TABLE = 'billing_invoice',
            CONSTRAINT = 'invoice_is_frozen';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER invoice_is_frozen BEFORE UPDATE ON billing_invoice FOR EACH ROW EXECUTE FUNCTION billing_check_invoice();
ALTER TABLE billing_invoice ENABLE ALWAYS TRIGGER invoice_is_frozen;

CREATE FUNCTION billing_check_new_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.number IS NOT NULL THEN
    RAISE EXCEPTION 'an invoice gets its number when it becomes final'
      USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_begins_open', TABLE = 'billing_invoice';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER invoice_begins_open BEFORE INSERT ON billing_invoice FOR EACH ROW EXECUTE FUNCTION billing_check_new_invoice();
ALTER TABLE billing_invoice ENABLE ALWAYS TRIGGER invoice_begins_open;

-- 5. Lines, taxes and the charges of lines change only while their invoice is open. One check per statement.
CREATE FUNCTION billing_check_part() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  frozen text;
BEGIN
  SELECT invoice.number INTO frozen FROM changed JOIN billing_invoice invoice ON invoice.id = changed.invoice_id
   WHERE invoice.number IS NOT NULL LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invoice % is final: % of % is refused', frozen, TG_OP, TG_TABLE_NAME
      USING ERRCODE = 'insufficient_privilege', HINT = 'issue a credit note instead', CONSTRAINT = 'invoice_is_frozen';
  END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION billing_check_invoiced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  frozen text;
BEGIN
  -- a void invoice gives its charges to the one that takes its place; nothing is ever added to it
  SELECT invoice.number INTO frozen FROM changed JOIN billing_invoiceline line ON line.id = changed.line_id
    JOIN billing_invoice invoice ON invoice.id = line.invoice_id
   WHERE invoice.number IS NOT NULL AND NOT (TG_ARGV[0] = 'leaves' AND invoice.state = 'void') LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'invoice % is final: % of % is refused', frozen, TG_OP, TG_TABLE_NAME
      USING ERRCODE = 'insufficient_privilege', HINT = 'issue a credit note instead', CONSTRAINT = 'invoice_is_frozen';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER frozen_insert AFTER INSERT ON billing_invoiceline REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_update AFTER UPDATE ON billing_invoiceline REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_move AFTER UPDATE ON billing_invoiceline REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_delete AFTER DELETE ON billing_invoiceline REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_insert AFTER INSERT ON billing_invoicetax REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_update AFTER UPDATE ON billing_invoicetax REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_move AFTER UPDATE ON billing_invoicetax REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_delete AFTER DELETE ON billing_invoicetax REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_part();
CREATE TRIGGER frozen_insert AFTER INSERT ON billing_invoicedcharge REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('joins');
CREATE TRIGGER frozen_update AFTER UPDATE ON billing_invoicedcharge REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('leaves');
CREATE TRIGGER frozen_move AFTER UPDATE ON billing_invoicedcharge REFERENCING NEW TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('joins');
CREATE TRIGGER frozen_delete AFTER DELETE ON billing_invoicedcharge REFERENCING OLD TABLE AS changed
  FOR EACH STATEMENT EXECUTE FUNCTION billing_check_invoiced('leaves');
DO $$
DECLARE
  part text;
  name text;
BEGIN
  FOREACH part IN ARRAY ARRAY['billing_invoiceline', 'billing_invoicetax', 'billing_invoicedcharge'] LOOP
    FOREACH name IN ARRAY ARRAY['frozen_insert', 'frozen_update', 'frozen_move', 'frozen_delete'] LOOP
      EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER %I', part, name);
    END LOOP;
  END LOOP;
END $$;

-- 6. What a final invoice says is what its lines and taxes come to: checked when the transaction that finalises it commits.
CREATE FUNCTION billing_check_total() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  lines record;
  taxes numeric;
BEGIN
  SELECT coalesce(sum(amount_micros), 0) AS net, coalesce(sum(tax_micros), 0) AS tax,
         coalesce(sum(exact_micros) FILTER (WHERE kind IN ('usage', 'fee', 'period')), 0) AS exact,
         coalesce(bool_or(amount_micros % NEW.minor_micros <> 0 OR tax_micros % NEW.minor_micros <> 0), false) AS broken
    INTO lines FROM billing_invoiceline WHERE invoice_id = NEW.id;
  SELECT coalesce(sum(amount_micros), 0) INTO taxes FROM billing_invoicetax WHERE invoice_id = NEW.id;
  IF lines.net <> NEW.net_micros OR lines.tax <> NEW.tax_micros OR taxes <> NEW.tax_micros OR lines.exact <> NEW.exact_micros
     OR lines.broken THEN
    RAISE EXCEPTION 'invoice % says % + % tax, its lines come to % + % tax, its taxes to %',
      NEW.number, NEW.net_micros, NEW.tax_micros, lines.net, lines.tax, taxes
      USING ERRCODE = 'check_violation', CONSTRAINT = 'invoice_is_the_sum_of_its_lines', TABLE = 'billing_invoice';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER invoice_is_the_sum_of_its_lines AFTER UPDATE ON billing_invoice
  DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (OLD.number IS NULL AND NEW.number IS NOT NULL) EXECUTE FUNCTION billing_check_total();
ALTER TABLE billing_invoice ENABLE ALWAYS TRIGGER invoice_is_the_sum_of_its_lines;

-- 7. Documents of their own never change; a final invoice never goes away, nor any of this by TRUNCATE.
CREATE FUNCTION billing_keep_invoice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.number IS NOT NULL THEN
    RAISE EXCEPTION 'invoice % is final: DELETE is refused', OLD.number
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'invoice_is_frozen', TABLE = 'billing_invoice';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER invoice_stays BEFORE DELETE ON billing_invoice FOR EACH ROW EXECUTE FUNCTION billing_keep_invoice();
ALTER TABLE billing_invoice ENABLE ALWAYS TRIGGER invoice_stays;
DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['billing_creditnote', 'billing_creditnoteline', 'billing_payment', 'billing_paymentallocation',
                              'billing_bankstatement', 'billing_dunningnotice'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', kept);
  END LOOP;
  FOREACH kept IN ARRAY ARRAY['billing_creditnote', 'billing_creditnoteline', 'billing_payment', 'billing_paymentallocation',
                              'billing_bankstatement', 'billing_dunningnotice', 'billing_bankline', 'billing_gatewaypayment',
                              'billing_billingperiod', 'billing_series', 'billing_invoice', 'billing_invoiceline',
                              'billing_invoicetax', 'billing_invoicedcharge'] LOOP
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change()', kept);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only_truncate', kept);
  END LOOP;
END $$;

-- 8. A bank's line says for ever what the bank said; only what became of it changes, and once it was settled not even that.
CREATE FUNCTION billing_check_bank_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR OLD.state <> 'queued'
     OR (to_jsonb(NEW) - ARRAY['state', 'payment_id', 'why']) IS DISTINCT FROM (to_jsonb(OLD) - ARRAY['state', 'payment_id', 'why']) THEN
    RAISE EXCEPTION 'line % of a bank statement is %: % is refused', OLD.id, OLD.state, TG_OP
      USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'bank_line_stays', TABLE = 'billing_bankline';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER bank_line_stays BEFORE UPDATE OR DELETE ON billing_bankline
  FOR EACH ROW EXECUTE FUNCTION billing_check_bank_line();
ALTER TABLE billing_bankline ENABLE ALWAYS TRIGGER bank_line_stays;
