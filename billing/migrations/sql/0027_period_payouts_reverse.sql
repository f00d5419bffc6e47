CREATE OR REPLACE FUNCTION billing_check_payout_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.share INTO wrong FROM changed
    LEFT JOIN billing_payout payout ON payout.id = changed.payout_id LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
   WHERE payout.id IS NULL OR charge.id IS NULL OR payout.state <> 'draft' OR payout.currency <> charge.currency
      OR payout.organization_id IS DISTINCT FROM CASE changed.role WHEN 'provider' THEN charge.provider_id ELSE charge.publisher_id END
      OR changed.amount_micros <> CASE changed.role WHEN 'provider' THEN charge.provider_micros ELSE charge.publisher_micros END
   LIMIT 1;
  IF NOT FOUND THEN
    SELECT payout.id INTO wrong FROM billing_payout payout
      JOIN billing_payoutline line ON line.payout_id = payout.id
     WHERE payout.id IN (SELECT payout_id FROM changed)
     GROUP BY payout.id HAVING sum(line.amount_micros) <> payout.exact_micros OR count(*) <> payout.lines_count LIMIT 1;
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'share or payout %: lines are what their charges and their draft say', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'payout_line_is_of_its_charge', TABLE = 'billing_payoutline';
  END IF;
  RETURN NULL;
END $$;
