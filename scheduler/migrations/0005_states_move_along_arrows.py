"""Units and attempts change state along the arrows of their MOVES: PostgreSQL refuses the rest, whoever asks."""

from __future__ import annotations

from django.db import migrations

ENDS = ("valid", "failed", "lost", "released", "cancelled", "superseded")
ARROWS = {
    "scheduler_unit": {
        "blocked": ("waiting", "failed", "cancelled"),
        "waiting": ("placed", "failed", "cancelled"),
        "placed": ("leased", "waiting", "failed", "cancelled"),
        "leased": ("done", "waiting", "failed", "cancelled"),
    },
    "scheduler_attempt": {
        "leased": ("running", "reported", *ENDS),
        "running": ("reported", *ENDS),
        "reported": ("valid", "invalid", "superseded"),
    },
}


def trigger(table: str, arrows: dict[str, tuple[str, ...]]) -> str:
    """The trigger `<table>_moves`: refuses what is not among the arrows. Its WHEN is all that a good move costs."""
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
    dependencies = [("scheduler", "0003_pace_as_a_line"), ("marketplace", "0011_states_move_along_arrows")]
    operations = [
        migrations.RunSQL(trigger(table, arrows), f"DROP TRIGGER {table}_moves ON {table}")
        for table, arrows in ARROWS.items()
    ]
