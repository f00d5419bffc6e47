"""Maintenance windows, machines wanted back, and what agents tell of their machines."""

from __future__ import annotations

import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0013_carbon"),
    ]

    operations = [
        migrations.CreateModel(
            name="CachedBlob",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("bytes", models.BigIntegerField()),
                ("seen_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="MaintenanceWindow",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period", django.contrib.postgres.fields.ranges.DateTimeRangeField(help_text="[from, to)")),
                (
                    "category",
                    models.CharField(
                        choices=[
                            ("hardware", "Hardware"),
                            ("software", "Software"),
                            ("network", "Network"),
                            ("power", "Power"),
                            ("other", "Other"),
                        ],
                        default="other",
                        max_length=10,
                    ),
                ),
                ("note", models.CharField(blank=True, default="", max_length=300)),
                ("announced_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="agent",
            name="status",
            field=models.JSONField(blank=True, default=dict, help_text="load, free capacity, temperature, power, as last told"),
        ),
        migrations.AddField(
            model_name="agent",
            name="status_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="reclaim_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="reclaim_until",
            field=models.DateTimeField(blank=True, help_text="then it works again; empty: when the owner says so", null=True),
        ),
        migrations.AddField(
            model_name="pool",
            name="reclaimed_by",
            field=models.CharField(blank=True, default="", help_text="owner or agent: who may end it", max_length=5),
        ),
        migrations.AddConstraint(
            model_name="pool",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("reclaim_at__isnull", True), ("reclaim_until__isnull", True), ("reclaimed_by", "")),
                    models.Q(("reclaim_at__isnull", False), ("reclaimed_by__in", ["owner", "agent"])),
                    _connector="OR",
                ),
                name="pool_reclaimed_by_somebody",
            ),
        ),
        migrations.AddField(
            model_name="cachedblob",
            name="pool",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="cached_blobs", to="marketplace.pool"
            ),
        ),
        migrations.AddField(
            model_name="maintenancewindow",
            name="pool",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="windows", to="marketplace.pool"),
        ),
        migrations.AddIndex(
            model_name="cachedblob",
            index=models.Index(fields=["sha256", "pool"], name="cached_blob_by_content"),
        ),
        migrations.AddConstraint(
            model_name="cachedblob",
            constraint=models.UniqueConstraint(fields=("pool", "sha256"), name="cached_blob_once_per_pool"),
        ),
        migrations.AddConstraint(
            model_name="maintenancewindow",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                expressions=[(models.Func("pool_id", "pool_id", models.Value("[]"), function="int8range"), "&&"), ("period", "&&")],
                name="maintenance_windows_do_not_overlap",
            ),
        ),
        migrations.AddConstraint(
            model_name="maintenancewindow",
            constraint=models.CheckConstraint(
                condition=models.Q(("period__isempty", False), ("period__lower_inf", False), ("period__upper_inf", False)),
                name="maintenance_window_has_both_ends",
            ),
        ),
    ]
