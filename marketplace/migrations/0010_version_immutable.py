"""A version that is tested or published never changes: PostgreSQL refuses, whoever asks."""

from __future__ import annotations

from django.db import migrations

FORWARD = """
CREATE FUNCTION marketplace_version_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'draft' THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE'
       AND (NEW.id, NEW.capability_id, NEW.version, NEW.manifest, NEW.digest, NEW.program_id, NEW.requirements)
           IS NOT DISTINCT FROM
           (OLD.id, OLD.capability_id, OLD.version, OLD.manifest, OLD.digest, OLD.program_id, OLD.requirements) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'version % is % and never changes', OLD.id, OLD.state
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'version_is_immutable';
END $$;

CREATE TRIGGER version_is_immutable BEFORE UPDATE OR DELETE ON marketplace_capabilityversion
    FOR EACH ROW EXECUTE FUNCTION marketplace_version_refuse_change();
ALTER TABLE marketplace_capabilityversion ENABLE ALWAYS TRIGGER version_is_immutable;
"""

BACKWARD = """
DROP TRIGGER version_is_immutable ON marketplace_capabilityversion;
DROP FUNCTION marketplace_version_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0003_offer_is_immutable")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
