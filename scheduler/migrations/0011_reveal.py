"""Commitments: what attempts bind themselves to before results are shown."""

import django.db.models.deletion
from django.db import migrations, models

ARROWS = {
    "committed": ("asked", "kept", "broken", "void"),
    "asked": ("kept", "broken", "void"),
}
ALLOWED = " OR ".join(
    f"OLD.state = '{source}' AND NEW.state IN ({', '.join(repr(target) for target in targets)})"
    for source, targets in ARROWS.items()
)
# A commitment that could be changed would bind nobody.
TRIGGERS = f"""
CREATE TRIGGER scheduler_commitment_moves BEFORE UPDATE ON scheduler_commitment FOR EACH ROW
    WHEN (OLD.hash <> NEW.hash OR OLD.attempt_id <> NEW.attempt_id OR OLD.state <> NEW.state AND NOT ({ALLOWED}))
    EXECUTE FUNCTION marketplace_refuse_move();
ALTER TABLE scheduler_commitment ENABLE ALWAYS TRIGGER scheduler_commitment_moves;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0010_verification")]

    operations = [
        migrations.CreateModel(
            name="Commitment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hash", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("committed", "Committed"),
                            ("asked", "Asked"),
                            ("kept", "Kept"),
                            ("broken", "Broken"),
                            ("void", "Void"),
                        ],
                        default="committed",
                        max_length=9,
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "attempt",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="commitment", to="scheduler.attempt"
                    ),
                ),
                (
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="the signed reports it came with",
                        on_delete=django.db.models.deletion.PROTECT,
                        to="scheduler.reportbatch",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["committed", "asked"])), fields=["at"], name="commitment_open"
                    )
                ],
            },
        ),
        migrations.RunSQL(TRIGGERS, "DROP TRIGGER scheduler_commitment_moves ON scheduler_commitment"),
    ]
