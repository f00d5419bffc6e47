DROP TRIGGER release_is_of_what_is_held ON billing_reserverelease;
DROP TRIGGER withholding_is_a_line ON billing_withholding;
DROP FUNCTION billing_check_release();
DROP FUNCTION billing_check_withholding();
DO $$
DECLARE
  kept text;
BEGIN
  FOREACH kept IN ARRAY ARRAY['billing_reserveterms', 'billing_withholding', 'billing_reserverelease'] LOOP
    EXECUTE format('DROP TRIGGER append_only ON %I', kept);
    EXECUTE format('DROP TRIGGER append_only_truncate ON %I', kept);
  END LOOP;
END $$;
-- Lines are what their charge says, be it of a task or of a month. As in 0019, where months were not paid out.
CREATE OR REPLACE FUNCTION billing_check_payout_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.share INTO wrong FROM changed
    LEFT JOIN billing_payout payout ON payout.id = changed.payout_id
    LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
    LEFT JOIN billing_periodcharge month ON month.id = changed.period_charge_id
   WHERE payout.id IS NULL OR payout.state <> 'draft' OR payout.currency IS DISTINCT FROM coalesce(charge.currency, month.currency)
      OR payout.organization_id IS DISTINCT FROM CASE WHEN changed.role = 'publisher' THEN charge.publisher_id
                                                      ELSE coalesce(charge.provider_id, month.provider_id) END
      OR changed.amount_micros IS DISTINCT FROM CASE WHEN changed.role = 'publisher' THEN charge.publisher_micros
                                                     ELSE coalesce(charge.provider_micros, month.provider_micros) END
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
