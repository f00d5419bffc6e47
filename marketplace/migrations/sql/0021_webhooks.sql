-- Deliveries move along the arrows of WebhookDelivery.MOVES. The arrows stand in WHEN; the function runs only to refuse.
CREATE TRIGGER marketplace_webhookdelivery_moves BEFORE UPDATE OF state ON marketplace_webhookdelivery FOR EACH ROW
  WHEN (OLD.state <> NEW.state AND NOT (
    OLD.state = 'pending' AND NEW.state IN ('sending') OR
    OLD.state = 'sending' AND NEW.state IN ('delivered', 'pending', 'given_up') OR
    OLD.state = 'delivered' AND NEW.state IN ('pending') OR
    OLD.state = 'given_up' AND NEW.state IN ('pending')))
  EXECUTE FUNCTION marketplace_refuse_move();
ALTER TABLE marketplace_webhookdelivery ENABLE ALWAYS TRIGGER marketplace_webhookdelivery_moves;

-- What was told stays as it was told: events, and the log of what was sent. Old ones are deleted whole.
CREATE FUNCTION marketplace_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% never change', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER webhook_event_stays BEFORE UPDATE ON marketplace_webhookevent
  FOR EACH ROW EXECUTE FUNCTION marketplace_refuse_rewriting();
CREATE TRIGGER webhook_try_stays BEFORE UPDATE ON marketplace_webhooktry
  FOR EACH ROW EXECUTE FUNCTION marketplace_refuse_rewriting();
ALTER TABLE marketplace_webhookevent ENABLE ALWAYS TRIGGER webhook_event_stays;
ALTER TABLE marketplace_webhooktry ENABLE ALWAYS TRIGGER webhook_try_stays;

-- The transaction that wrote an event. Readers who ask what came since get events of ended transactions only, in the order of
-- (transaction, number), so that none that commits late can fall behind what they have read.
ALTER TABLE marketplace_webhookevent ADD COLUMN written_by xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX webhook_event_read ON marketplace_webhookevent (organization_id, written_by, number);
