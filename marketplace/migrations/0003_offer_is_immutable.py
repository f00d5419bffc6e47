"""An offer that has priced an attempt never changes: PostgreSQL refuses, whoever asks."""

from __future__ import annotations

from django.db import migrations

FORWARD = """
CREATE FUNCTION marketplace_offer_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT OLD.used THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        -- only its end may come nearer; where nothing is different nothing is refused
        IF (NEW.id, NEW.pool_id, NEW.basis, NEW.currency, NEW.used, NEW.created_at)
               IS NOT DISTINCT FROM (OLD.id, OLD.pool_id, OLD.basis, OLD.currency, OLD.used, OLD.created_at)
           AND NOT isempty(NEW.valid)
           AND lower(NEW.valid) IS NOT DISTINCT FROM lower(OLD.valid)
           AND coalesce(upper(NEW.valid), 'infinity') <= coalesce(upper(OLD.valid), 'infinity') THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'offer % has priced an attempt and never changes', OLD.id
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'offer_used_is_immutable';
END $$;

CREATE TRIGGER offer_used_is_immutable BEFORE UPDATE OR DELETE ON marketplace_offer
    FOR EACH ROW EXECUTE FUNCTION marketplace_offer_refuse_change();
ALTER TABLE marketplace_offer ENABLE ALWAYS TRIGGER offer_used_is_immutable;

CREATE FUNCTION marketplace_rate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    offers bigint[] := '{}';
BEGIN
    IF TG_OP <> 'INSERT' THEN offers := offers || OLD.offer_id; END IF;
    IF TG_OP <> 'DELETE' THEN offers := offers || NEW.offer_id; END IF;
    -- FOR SHARE waits for a transaction that is about to mark the offer as used, and then sees the mark
    IF (SELECT bool_or(used) FROM (SELECT used FROM marketplace_offer WHERE id = ANY(offers) FOR SHARE) locked) THEN
        RAISE EXCEPTION 'rates of an offer that has priced an attempt never change'
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'rate_of_used_offer_is_immutable';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

CREATE TRIGGER rate_of_used_offer_is_immutable BEFORE INSERT OR UPDATE OR DELETE ON marketplace_rate
    FOR EACH ROW EXECUTE FUNCTION marketplace_rate_refuse_change();
ALTER TABLE marketplace_rate ENABLE ALWAYS TRIGGER rate_of_used_offer_is_immutable;
"""

BACKWARD = """
DROP TRIGGER rate_of_used_offer_is_immutable ON marketplace_rate;
DROP FUNCTION marketplace_rate_refuse_change();
DROP TRIGGER offer_used_is_immutable ON marketplace_offer;
DROP FUNCTION marketplace_offer_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0002_regions")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
