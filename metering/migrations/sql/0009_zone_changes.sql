-- Whoever changes an organization's time zone asks for all of its days again, in the same transaction.
CREATE FUNCTION metering_zone_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour)
  SELECT DISTINCT series.customer_id, series.pool_id, series.meter, series.unit, date_trunc('hour', event.occurred_at, 'UTC')
    FROM metering_usageevent event JOIN metering_usageseries series ON series.id = event.series_id
   WHERE series.customer_id = NEW.id AND series.meter <> 'heartbeat';
  INSERT INTO metering_usagedirty (customer_id, pool_id, meter, unit, hour)
  SELECT DISTINCT usage.organization_id, usage.pool_id, meters.meter, meters.unit, date_trunc('hour', held.at, 'UTC')
    FROM metering_usagerecord usage
   CROSS JOIN LATERAL (SELECT generate_series(usage.started_at, usage.ended_at, interval '12 hours') UNION SELECT usage.ended_at)
         AS held (at)
   CROSS JOIN LATERAL (VALUES ('held_cores', 'core', coalesce(usage.cores, 1)),
                              ('held_accelerators', 'accelerator', coalesce(usage.accelerators, 0))) AS meters (meter, unit, amount)
   WHERE usage.organization_id = NEW.id AND meters.amount > 0;
  RETURN NULL;
END $$;
CREATE TRIGGER zone_changed AFTER UPDATE OF zone ON marketplace_organization
  FOR EACH ROW WHEN (OLD.zone IS DISTINCT FROM NEW.zone) EXECUTE FUNCTION metering_zone_changed();
ALTER TABLE marketplace_organization ENABLE ALWAYS TRIGGER zone_changed;
