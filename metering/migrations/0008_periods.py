"""Days in slots that peaks are read from: per customer, pool and meter, in the customer's zone. Built anew from the facts."""

from pathlib import Path

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"
REFERENCE = {"related_name": "+", "on_delete": django.db.models.deletion.PROTECT}


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0020_zones"), ("metering", "0007_rollups"), ("scheduler", "0013_demand")]

    operations = [
        migrations.RunSQL("DELETE FROM metering_usagedirty", migrations.RunSQL.noop),
        migrations.DeleteModel(name="UsageDay"),
        migrations.CreateModel(
            name="UsageSubject",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("meter", models.CharField(max_length=64)),
                ("unit", models.CharField(max_length=24)),
                ("zone", models.CharField(help_text="IANA time zone", max_length=64)),
                ("customer", models.ForeignKey(db_index=False, to="marketplace.organization", **REFERENCE)),
                ("pool", models.ForeignKey(to="marketplace.pool", **REFERENCE)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["customer", "pool", "meter", "unit", "zone"], name="usage_subject_once")
                ]
            },
        ),
        migrations.CreateModel(
            name="UsageDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stat", models.CharField(choices=[("sum", "Sum"), ("avg", "Avg"), ("max", "Max")], max_length=3)),
                ("day", models.DateField()),
                ("slots", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(null=True), size=None)),
                ("width", models.SmallIntegerField()),
                ("known", models.SmallIntegerField()),
                ("top", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ("top_at", django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None)),
                ("ranked", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ("ladder", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ("digest", models.UUIDField(help_text="of the facts")),
                ("latest", models.DateTimeField()),
                (
                    "subject",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="days",
                        to="metering.usagesubject",
                    ),
                ),
            ],
            options={"constraints": [models.UniqueConstraint(fields=["subject", "stat", "day"], name="usage_day_once")]},
        ),
        migrations.AddField(
            model_name="usagedirty",
            name="due",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddField(
            model_name="usagedirty",
            name="pool",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                default=None,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="marketplace.pool",
            ),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="usagedirty",
            name="customer",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="marketplace.organization",
            ),
        ),
        migrations.RemoveConstraint(model_name="usageevent", name="usage_event_is_a_quantity_or_a_reading"),
        migrations.AddField(
            model_name="usageevent",
            name="gauge",
            field=models.DecimalField(
                decimal_places=12, help_text="a sample of what is in use just then", max_digits=42, null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="usageevent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    quantity__gte=0, value__isnull=True, boot_id__isnull=True, seq__isnull=True, gauge__isnull=True
                )
                | models.Q(quantity__isnull=True, value__gte=0, boot_id__isnull=False, seq__gte=0, gauge__isnull=True)
                | models.Q(
                    quantity__isnull=True, value__isnull=True, boot_id__isnull=True, seq__isnull=True, gauge__gte=0
                ),
                name="usage_event_is_of_one_kind",
            ),
        ),
        migrations.AddField(
            model_name="usagerecord",
            name="accelerators",
            field=models.IntegerField(help_text="held", null=True),
        ),
        migrations.AddField(
            model_name="usagerecord",
            name="cores",
            field=models.IntegerField(help_text="held; null in records older than this column", null=True),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(fields=["organization", "ended_at"], name="usage_of_organization"),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["ended_at"], name="usage_when", pages_per_range=16
            ),
        ),
        migrations.AddIndex(
            model_name="usagerecord",
            index=models.Index(condition=models.Q(("revision__gt", 0)), fields=["corrects"], name="usage_put_right"),
        ),
        migrations.RunSQL((SQL / "0008_all_dirty.sql").read_text(), migrations.RunSQL.noop),
    ]
