"""Energy, where the machine measures it: a column without a default, so no row is written."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("metering", "0003_facts_never_change"),
    ]

    operations = [
        migrations.AddField(
            model_name="usagerecord",
            name="joules",
            field=models.BigIntegerField(help_text="of the processors, where the machine measures them", null=True),
        ),
    ]
