from typing import Any

from django.db import migrations, models

from marketplace.carbon import load_carbon


def fill(apps: Any, _: Any) -> None:
    load_carbon(apps)


class Migration(migrations.Migration):
    """Carbon of electricity by region, and objectives that look at it."""

    dependencies = [("marketplace", "0012_names_of_lists")]
    operations = [
        migrations.AddField("region", "carbon_g_per_kwh", models.FloatField(blank=True, help_text="of electricity; see marketplace/carbon.py", null=True)),
        migrations.AddField("region", "carbon_by_hour", models.JSONField(blank=True, default=list, help_text="24 factors, local hours; [] for a flat day")),
        migrations.AlterField("task", "objective", models.CharField(choices=[("cheapest", "Cheapest"), ("fastest", "Fastest"), ("greenest", "Greenest"), ("balanced", "Balanced")], default="cheapest", max_length=10)),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
