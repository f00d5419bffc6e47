"""Tasks, pools and versions change state along the arrows of their MOVES: PostgreSQL refuses the rest, whoever asks.

The arrows stand in the trigger's WHEN, which costs less than a microsecond a row; the function runs only to refuse.
"""

from __future__ import annotations

from django.db import migrations

ARROWS = {
    "marketplace_task": {
        "queued": ("running", "delivered", "failed", "cancelled", "expired"),
        "running": ("delivered", "failed", "cancelled", "expired"),
    },
    "marketplace_pool": {
        "registered": ("enrolled", "suspended", "retired"),
        "enrolled": ("verified", "suspended", "retired"),
        "verified": ("enrolled", "active", "suspended", "retired"),
        "active": ("enrolled", "draining", "suspended", "retired"),
        "draining": ("enrolled", "active", "suspended", "retired"),
        "suspended": ("verified", "retired"),
    },
    "marketplace_capabilityversion": {
        "draft": ("testing", "withdrawn"),
        "testing": ("draft", "published", "withdrawn"),
        "published": ("deprecated", "withdrawn"),
        "deprecated": ("withdrawn",),
    },
}

REFUSE = """
CREATE FUNCTION marketplace_refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% %: % may not become %', TG_TABLE_NAME, OLD.id, OLD.state, NEW.state
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME;
END $$;
"""


def trigger(table: str, arrows: dict[str, tuple[str, ...]]) -> str:
    """The trigger `<table>_moves`: refuses what is not among the arrows."""
    allowed = " OR ".join(
        f"OLD.state = '{source}' AND NEW.state IN ({', '.join(repr(target) for target in targets)})"
        for source, targets in arrows.items()
    )
    return f"""
        CREATE TRIGGER {table}_moves BEFORE UPDATE OF state ON {table} FOR EACH ROW
            WHEN (OLD.state <> NEW.state AND NOT ({allowed})) EXECUTE FUNCTION marketplace_refuse_move();
        ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_moves;
    """


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0010_version_immutable")]
    operations = [
        migrations.RunSQL(REFUSE, "DROP FUNCTION marketplace_refuse_move()"),
        *(
            migrations.RunSQL(trigger(table, arrows), f"DROP TRIGGER {table}_moves ON {table}")
            for table, arrows in ARROWS.items()
        ),
    ]
