"""Versions whose results do not agree with each other are known as unstable."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0016_replicas")]

    operations = [
        migrations.AddField(
            model_name="capabilityversion",
            name="unstable_since",
            field=models.DateTimeField(
                blank=True,
                help_text="three of its tasks ended because no results agreed; only a new version is free of it",
                null=True,
            ),
        ),
    ]
