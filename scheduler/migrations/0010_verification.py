"""Replicas of a unit, the queue of verdicts, trust; and the arrows that verdicts take."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

ENDS = ("failed", "cancelled", "superseded")
BEFORE = {
    "blocked": ("waiting", "failed", "cancelled"),
    "waiting": ("placed", "failed", "cancelled"),
    "placed": ("leased", "waiting", "failed", "cancelled"),
    "leased": ("done", "waiting", "failed", "cancelled"),
}
ARROWS = {
    "blocked": ("waiting", *ENDS),
    "waiting": ("placed", *ENDS),
    "placed": ("leased", "waiting", *ENDS),
    "leased": ("done", "reported", "waiting", "blocked", *ENDS),
    "reported": ("done", *ENDS),
}


def trigger(arrows: dict[str, tuple[str, ...]]) -> str:
    """The trigger of units: refuses what is not among the arrows."""
    allowed = " OR ".join(
        f"OLD.state = '{source}' AND NEW.state IN ({', '.join(repr(target) for target in targets)})"
        for source, targets in arrows.items()
    )
    return f"""
        CREATE TRIGGER scheduler_unit_moves BEFORE UPDATE OF state ON scheduler_unit FOR EACH ROW
            WHEN (OLD.state <> NEW.state AND NOT ({allowed})) EXECUTE FUNCTION marketplace_refuse_move();
        ALTER TABLE scheduler_unit ENABLE ALWAYS TRIGGER scheduler_unit_moves;
    """


DROP = "DROP TRIGGER scheduler_unit_moves ON scheduler_unit"


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0015_trust"),
        ("scheduler", "0009_faults"),
    ]

    operations = [
        migrations.RunSQL(DROP, trigger(BEFORE)),
        migrations.CreateModel(
            name="PoolEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("quarantined", "Quarantined"),
                            ("returned", "returned from quarantine"),
                            ("lifted", "quarantine lifted by an operator"),
                            ("level", "level changed"),
                            ("level_ends", "level ends soon"),
                            ("audited", "audited by an operator"),
                        ],
                        max_length=12,
                    ),
                ),
                ("detail", models.CharField(max_length=200)),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Trust",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("streak", models.PositiveIntegerField(default=0, help_text="consecutive valid results")),
                ("valid", models.FloatField(default=0)),
                ("invalid", models.FloatField(default=0)),
                ("lost", models.FloatField(default=0)),
                ("samples", models.PositiveIntegerField(default=0)),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "trust",
            },
        ),
        migrations.CreateModel(
            name="Unjudged",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "unit to be judged",
                "verbose_name_plural": "units to be judged",
            },
        ),
        migrations.RemoveConstraint(
            model_name="unit",
            name="unit_once_per_task",
        ),
        migrations.AddField(
            model_name="attempt",
            name="checked",
            field=models.BooleanField(db_default=False, default=False, help_text="its result waits for a verdict"),
        ),
        migrations.AddField(
            model_name="unit",
            name="apart",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(),
                db_default=[],
                default=list,
                help_text="pools of owners that must not take it, ever",
                size=None,
            ),
        ),
        migrations.AddField(
            model_name="unit",
            name="checked",
            field=models.BooleanField(
                db_default=False, default=False, help_text="waits for a verdict; unknown: drawn when it is leased", null=True
            ),
        ),
        migrations.AddField(
            model_name="unit",
            name="replica",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="unit",
            name="stage",
            field=models.PositiveSmallIntegerField(
                choices=[(0, "Unit"), (1, "Merge"), (2, "Validate"), (3, "Validate")], default=0
            ),
        ),
        migrations.AlterField(
            model_name="unit",
            name="state",
            field=models.CharField(
                choices=[
                    ("blocked", "Blocked"),
                    ("waiting", "Waiting"),
                    ("placed", "Placed"),
                    ("leased", "Leased"),
                    ("reported", "Reported"),
                    ("done", "Done"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                    ("superseded", "Superseded"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(condition=models.Q(("checked", True)), fields=["unit"], name="attempt_checked"),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(condition=models.Q(("state", "reported")), fields=["pool"], name="attempt_reported"),
        ),
        migrations.AddIndex(
            model_name="attempt",
            index=models.Index(condition=models.Q(("state", "invalid")), fields=["pool", "ended_at"], name="attempt_invalid"),
        ),
        migrations.AddIndex(
            model_name="unit",
            index=models.Index(
                condition=models.Q(("state", "waiting"), models.Q(("apart", []), _negated=True)), fields=["id"], name="unit_apart"
            ),
        ),
        migrations.AddConstraint(
            model_name="unit",
            constraint=models.UniqueConstraint(fields=("task", "stage", "index", "replica"), name="unit_once_per_task"),
        ),
        migrations.AddField(
            model_name="poolevent",
            name="pool",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="events", to="marketplace.pool"
            ),
        ),
        migrations.AddField(
            model_name="trust",
            name="capability_version",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, to="marketplace.capabilityversion"
            ),
        ),
        migrations.AddField(
            model_name="trust",
            name="pool",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="trust", to="marketplace.pool"),
        ),
        migrations.AddField(
            model_name="unjudged",
            name="unit",
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="scheduler.unit"),
        ),
        migrations.AddIndex(
            model_name="poolevent",
            index=models.Index(fields=["pool", "-id"], name="pool_events"),
        ),
        migrations.AddConstraint(
            model_name="trust",
            constraint=models.UniqueConstraint(fields=("capability_version", "pool"), name="trust_once"),
        ),
        migrations.RunSQL(trigger(ARROWS), DROP),
    ]
