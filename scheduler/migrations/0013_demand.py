import django.db.models.deletion
from django.db import migrations, models

# What was learned before squares were kept had some spread: that of a quarter of the mean is assumed.
ASSUME = "UPDATE scheduler_pace SET seconds_squared = 1.0625 * seconds * seconds / samples WHERE samples > 0"
# Validators stand apart from stages: their numbers leave room for those of manifests. Nothing else was numbered 2 or 3 before.
MOVE = """
UPDATE scheduler_unit SET stage = stage + 98 WHERE stage IN (2, 3);
UPDATE scheduler_pace SET stage = stage + 98 WHERE stage IN (2, 3);
UPDATE scheduler_need SET document = jsonb_set(document, '{stage}', to_jsonb((document->>'stage')::int + 98))
WHERE document->>'stage' IN ('2', '3')
"""
BACK = """
UPDATE scheduler_unit SET stage = stage - 98 WHERE stage >= 100;
UPDATE scheduler_pace SET stage = stage - 98 WHERE stage >= 100;
UPDATE scheduler_need SET document = jsonb_set(document, '{stage}', to_jsonb((document->>'stage')::int - 98))
WHERE (document->>'stage')::int >= 100
"""


class Migration(migrations.Migration):
    """Demand by variant, with its spread; which variant ran; and what was predicted of a task."""

    dependencies = [("scheduler", "0012_reveal"), ("marketplace", "0018_demand")]
    operations = [
        migrations.AddField("unit", "variant", models.PositiveSmallIntegerField(db_default=0, help_text="of the manifest's variants the one its pool runs, from 0")),
        migrations.AddField("attempt", "variant", models.PositiveSmallIntegerField(db_default=0, help_text="of the manifest's variants the one that ran, from 0")),
        migrations.RemoveConstraint("pace", "pace_once"),
        migrations.AddField("pace", "variant", models.PositiveSmallIntegerField(db_default=0, help_text="its number in the manifest, from 0")),
        migrations.AddConstraint("pace", models.UniqueConstraint(fields=("capability_version", "stage", "variant", "pool"), name="pace_once")),
        migrations.AddField("pace", "seconds_squared", models.FloatField(db_default=0)),
        migrations.AddField("pace", "memory_mib", models.FloatField(db_default=0, help_text="sum of the units' peaks, as agents claim, at most what was reserved")),
        migrations.AddField("pace", "memory_most", models.PositiveIntegerField(db_default=0, help_text="the highest of these peaks, MiB")),
        migrations.AddField("pace", "bytes_out", models.FloatField(db_default=0, help_text="sum of the outputs' bytes, as stored")),
        migrations.RunSQL(ASSUME, migrations.RunSQL.noop),
        migrations.AlterField("unit", "stage", models.PositiveSmallIntegerField(choices=[(0, "Unit"), (1, "Merge"), (100, "Validate"), (101, "Validate")], default=0)),
        migrations.RunSQL(MOVE, BACK),
        migrations.CreateModel(
            name="Prediction",
            fields=[
                ("task", models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, serialize=False, to="marketplace.task")),
                ("made_at", models.DateTimeField()),
                ("start_p50_s", models.FloatField(help_text="until its first unit starts")),
                ("start_p90_s", models.FloatField()),
                ("finish_p50_s", models.FloatField(help_text="until its result is there")),
                ("finish_p90_s", models.FloatField()),
                ("price", models.DecimalField(decimal_places=6, help_text="expected, fees included; an estimate, never charged", max_digits=20)),
                ("tflop", models.DecimalField(decimal_places=12, help_text="FP32 work of all units", max_digits=30)),
            ],
        ),
    ]
