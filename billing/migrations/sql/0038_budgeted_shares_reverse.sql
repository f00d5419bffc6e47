CREATE OR REPLACE FUNCTION billing_budget_share(budget marketplace_budget, charge billing_periodcharge) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN budget.scope = 'organization' THEN charge.amount_micros
         WHEN charge.version_id IS NOT NULL THEN (
         SELECT coalesce(div(charge.amount_micros::numeric * sum(counted) FILTER (WHERE marketplace_budget_counts(budget, task)),
                             nullif(sum(counted), 0)), 0)::bigint
           FROM marketplace_task task
          CROSS JOIN LATERAL (SELECT CASE WHEN charge.meter = 'fee_per_task'
                 THEN (task.state = 'delivered' AND task.ended_at >= lower(charge.period) AND task.ended_at < upper(charge.period))::int
                 ELSE (SELECT count(*) FROM metering_usagerecord usage
                        WHERE usage.task_id = task.id AND usage.revision = 0 AND usage.stage = 0 AND usage.outcome = 'valid'
                          AND usage.ended_at >= lower(charge.period) AND usage.ended_at < upper(charge.period)) END AS counted) fees
          WHERE task.organization_id = charge.organization_id AND task.terms ? 'fees_by_month' AND task.kind <> 'test'
            AND task.capability_version_id = charge.version_id AND task.state IN ('delivered', 'cancelled')
            AND task.settled_at >= lower(charge.period) AND task.settled_at < charge.cutoff)
         ELSE (
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
