DROP TRIGGER zone_changed ON marketplace_organization;
DROP FUNCTION metering_zone_changed();
