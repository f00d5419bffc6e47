CREATE OR REPLACE FUNCTION billing_check_payout_lines() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.share INTO wrong FROM changed
    LEFT JOIN billing_payout payout ON payout.id = changed.payout_id
    LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
    LEFT JOIN billing_periodcharge month ON month.id = changed.period_charge_id
    LEFT JOIN billing_reserverelease freed ON freed.id = changed.release_id
    LEFT JOIN billing_withholding held ON held.id = coalesce(changed.withholding_id, freed.withholding_id)
   WHERE payout.id IS NULL OR payout.state <> 'draft'
      OR payout.currency IS DISTINCT FROM coalesce(charge.currency, month.currency, held.currency)
      OR payout.organization_id IS DISTINCT FROM CASE WHEN changed.role = 'publisher' THEN charge.publisher_id
                                                      ELSE coalesce(charge.provider_id, month.provider_id, held.organization_id) END
      OR changed.amount_micros IS DISTINCT FROM CASE WHEN changed.role = 'publisher' THEN charge.publisher_micros
           WHEN changed.role = 'reserve' THEN -held.amount_micros
           ELSE coalesce(charge.provider_micros, month.provider_micros, freed.amount_micros) END
      OR changed.role = 'reserve' AND held.payout_id <> changed.payout_id
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

CREATE OR REPLACE FUNCTION billing_check_revision() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before record;
BEGIN
  SELECT subject_id, period, total_micros INTO before FROM billing_periodcharge
   WHERE CASE WHEN NEW.revision = 1 THEN id = NEW.base_id ELSE base_id = NEW.base_id AND revision = NEW.revision - 1 END;
  IF NOT FOUND OR before.subject_id <> NEW.subject_id OR before.period <> NEW.period
     OR before.total_micros + NEW.amount_micros <> NEW.total_micros
     OR NEW.refunds_id IS NOT NULL AND NOT EXISTS (
          SELECT FROM billing_periodcharge WHERE id = NEW.refunds_id AND coalesce(base_id, id) = NEW.base_id
             AND refunds_id IS NULL AND payer = 'user' AND amount_micros >= -NEW.amount_micros) THEN
    RAISE EXCEPTION 'revision % of period charge % does not go on from the one before', NEW.revision, NEW.base_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'period_revision_follows', TABLE = 'billing_periodcharge';
  END IF;
  RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION billing_check_disputed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrong bigint;
BEGIN
  SELECT changed.id INTO wrong FROM changed
    LEFT JOIN billing_dispute dispute ON dispute.id = changed.dispute_id LEFT JOIN billing_charge charge ON charge.id = changed.charge_id
    LEFT JOIN billing_charge refund ON refund.id = changed.refund_id
   WHERE changed.period_charge_id IS NULL AND (
         dispute.id IS NULL OR charge.id IS NULL OR charge.payer <> 'user' OR charge.amount_micros <> changed.micros
      OR (charge.organization_id, charge.provider_id, charge.publisher_id, charge.currency) IS DISTINCT FROM
         (dispute.organization_id, dispute.provider_id, dispute.publisher_id, dispute.currency)
      OR TG_OP = 'INSERT' AND (dispute.state <> 'open' OR changed.state <> 'open')
      OR changed.refund_id IS NOT NULL AND (
           refund.kind IS DISTINCT FROM 'refund' OR refund.amount_micros <> -changed.awarded_micros
           OR -refund.provider_micros > charge.provider_micros OR -refund.publisher_micros > charge.publisher_micros
           OR -refund.platform_micros > charge.platform_micros
           OR (refund.task_id, refund.usage_id, refund.organization_id, refund.provider_id, refund.publisher_id, refund.currency)
              IS DISTINCT FROM
              (charge.task_id, charge.usage_id, charge.organization_id, charge.provider_id, charge.publisher_id, charge.currency)))
   LIMIT 1;
  IF NOT FOUND THEN
    SELECT changed.id INTO wrong FROM changed
      LEFT JOIN billing_dispute dispute ON dispute.id = changed.dispute_id
      LEFT JOIN billing_periodcharge charge ON charge.id = changed.period_charge_id
      LEFT JOIN billing_periodcharge refund ON refund.id = changed.period_refund_id
     WHERE changed.period_charge_id IS NOT NULL AND (
           dispute.id IS NULL OR charge.id IS NULL OR charge.payer <> 'user' OR charge.amount_micros <> changed.micros
        OR (charge.organization_id, charge.provider_id, NULL::bigint, charge.currency) IS DISTINCT FROM
           (dispute.organization_id, dispute.provider_id, dispute.publisher_id, dispute.currency)
        OR TG_OP = 'INSERT' AND (dispute.state <> 'open' OR changed.state <> 'open')
        OR changed.period_refund_id IS NOT NULL AND (
             refund.refunds_id IS DISTINCT FROM charge.id OR refund.amount_micros <> -changed.awarded_micros))
     LIMIT 1;
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'disputed charge %: it is what its charge, its dispute and its refund say', wrong
      USING ERRCODE = 'check_violation', CONSTRAINT = 'disputed_charge_is_of_its_charge', TABLE = 'billing_disputedcharge';
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION billing_budget_share(budget marketplace_budget, charge billing_periodcharge) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN budget.scope = 'organization' THEN charge.amount_micros ELSE (
         SELECT coalesce(div(charge.amount_micros::numeric
                             * sum(usage.held_core_ms::numeric) FILTER (WHERE marketplace_budget_counts(budget, task)),
                             nullif(sum(usage.held_core_ms::numeric), 0)), 0)::bigint
           FROM billing_charge handed
           JOIN metering_usagerecord usage ON usage.id = handed.usage_id
           JOIN marketplace_task task ON task.id = handed.task_id
           JOIN marketplace_offer offer ON offer.id = charge.offer_id AND offer.pool_id = usage.pool_id
          WHERE handed.organization_id = charge.organization_id AND handed.reason = 'by_period' AND handed.payer = charge.payer
            AND handed.charged_at >= lower(charge.period) AND handed.charged_at < charge.cutoff
            AND usage.ended_at > lower(charge.period) AND usage.started_at < upper(charge.period)
            AND coalesce((SELECT own.id FROM marketplace_offer own
                           WHERE own.customer_id = charge.organization_id AND own.pool_id = usage.pool_id
                             AND own.valid @> task.priced_at), usage.offer_id) = offer.id) END
$$;
