"""Paces become sums from which a line follows. What was learned before cannot be told apart into these; it is learned anew."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0002_unit_failed_index")]

    operations = [
        migrations.RunSQL("DELETE FROM scheduler_pace", migrations.RunSQL.noop),
        migrations.RemoveField("pace", "ms_per_tflop"),
        migrations.AlterField("pace", "samples", models.FloatField()),
        migrations.AddField("pace", "tflop", models.FloatField(default=0, help_text="sum, FP32 TFLOP"), preserve_default=False),
        migrations.AddField("pace", "seconds", models.FloatField(default=0, help_text="sum of wall times"), preserve_default=False),
        migrations.AddField("pace", "tflop_squared", models.FloatField(default=0), preserve_default=False),
        migrations.AddField("pace", "product", models.FloatField(default=0, help_text="sum of TFLOP x seconds"), preserve_default=False),
    ]
