DROP INDEX webhook_event_read;
ALTER TABLE marketplace_webhookevent DROP COLUMN written_by;
DROP TRIGGER webhook_try_stays ON marketplace_webhooktry;
DROP TRIGGER webhook_event_stays ON marketplace_webhookevent;
DROP FUNCTION marketplace_refuse_rewriting();
DROP TRIGGER marketplace_webhookdelivery_moves ON marketplace_webhookdelivery;
