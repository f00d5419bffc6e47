-- Days are caches: every one is asked for again.
INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour)
SELECT DISTINCT series.customer_id, series.pool_id, series.meter, series.unit, date_trunc('hour', event.occurred_at, 'UTC')
  FROM metering_usageevent event JOIN metering_usageseries series ON series.id = event.series_id;

INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour)
SELECT DISTINCT usage.organization_id, usage.pool_id, 'held_cores', 'core', date_trunc('hour', at, 'UTC')
  FROM metering_usagerecord usage
 CROSS JOIN LATERAL (SELECT generate_series(usage.started_at, usage.ended_at, interval '12 hours') UNION SELECT usage.ended_at) held(at);
