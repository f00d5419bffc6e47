"""What attempts saved: the next attempt of the unit goes on from it."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("scheduler", "0008_network"),
    ]

    operations = [
        migrations.CreateModel(
            name="Checkpoint",
            fields=[
                (
                    "attempt",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="checkpoint",
                        serialize=False,
                        to="scheduler.attempt",
                    ),
                ),
                ("at", models.DateTimeField()),
                ("number", models.PositiveIntegerField(default=1, help_text="how many this attempt saved")),
                ("files", models.JSONField(help_text="[{path, sha256, bytes}]")),
                ("bytes", models.BigIntegerField()),
                ("usage", models.JSONField(help_text="the agent's claim up to then", null=True)),
                ("unit", models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, to="scheduler.unit")),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("bytes__gte", 0)), name="checkpoint_bytes_not_negative")
                ],
            },
        ),
    ]
