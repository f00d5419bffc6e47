"""How far a pool is believed: quarantine, quota and level."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0014_maintenance"),
    ]

    operations = [
        migrations.AddField(
            model_name="pool",
            name="audited_until",
            field=models.DateTimeField(blank=True, help_text="somebody independent has looked at it", null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="daily_quota",
            field=models.PositiveIntegerField(blank=True, help_text="units a day; empty is no limit", null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="level",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="pool",
            name="level_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="pool",
            name="level_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="quarantine_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        migrations.AddField(
            model_name="pool",
            name="quarantined_until",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="quarantines",
            field=models.PositiveSmallIntegerField(db_default=0, default=0, help_text="so far; each doubles the next"),
        ),
        migrations.AddField(
            model_name="pool",
            name="quota_day",
            field=models.DateField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="quota_used",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="pool",
            name="selftest_at",
            field=models.DateTimeField(blank=True, help_text="last passed", null=True),
        ),
    ]
