"""Commitments: what attempts bind themselves to before results are shown. And results that are run again."""

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
CREATE TRIGGER scheduler_recheck_moves BEFORE UPDATE OF state ON scheduler_recheck FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND OLD.state <> 'running')
    EXECUTE FUNCTION marketplace_refuse_move();
ALTER TABLE scheduler_recheck ENABLE ALWAYS TRIGGER scheduler_recheck_moves;
"""
DROP = """
DROP TRIGGER scheduler_recheck_moves ON scheduler_recheck;
DROP TRIGGER scheduler_commitment_moves ON scheduler_commitment;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0011_scenes")]

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
        migrations.CreateModel(
            name="Recheck",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("same", "Same"),
                            ("different", "Different"),
                            ("unknown", "Unknown"),
                        ],
                        default="running",
                        max_length=9,
                    ),
                ),
                ("at", models.DateTimeField()),
                (
                    "attempt",
                    models.OneToOneField(
                        help_text="whose result is in question",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="recheck",
                        to="scheduler.attempt",
                    ),
                ),
                (
                    "unit",
                    models.OneToOneField(
                        help_text="the sibling that runs it again",
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rechecks",
                        to="scheduler.unit",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("state", "running")), fields=["unit"], name="recheck_open")
                ],
            },
        ),
        migrations.AlterField(
            model_name="poolevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("quarantined", "Quarantined"),
                    ("returned", "returned from quarantine"),
                    ("lifted", "quarantine lifted by an operator"),
                    ("level", "level changed"),
                    ("level_ends", "level ends soon"),
                    ("audited", "audited by an operator"),
                    ("rechecks", "results are run again"),
                    ("doubted", "run again, the result was another"),
                ],
                max_length=12,
            ),
        ),
        migrations.RunSQL(TRIGGERS, DROP),
    ]
