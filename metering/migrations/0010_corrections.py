"""Corrections of usage records, found by whom they concern and when they were made."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("metering", "0009_zones")]

    operations = [
        migrations.AddIndex(
            "usagerecord",
            models.Index(
                condition=models.Q(("revision__gt", 0)), fields=["organization", "measured_at"], name="usage_corrected"
            ),
        ),
    ]
