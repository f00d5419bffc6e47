"""Copies of artifacts that are wished for in regions, what is pinned, and the room that agents offer for it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ARROWS = {
    "wanted": ("copying", "gone"),
    "copying": ("held", "wanted", "failed", "gone"),
    "held": ("wanted", "gone"),
    "failed": ("wanted", "gone"),
}
ALLOWED = " OR ".join(
    f"OLD.state = '{source}' AND NEW.state IN ({', '.join(repr(target) for target in targets)})"
    for source, targets in ARROWS.items()
)
TRIGGER = f"""
    CREATE TRIGGER marketplace_replica_moves BEFORE UPDATE OF state ON marketplace_replica FOR EACH ROW
        WHEN (OLD.state <> NEW.state AND NOT ({ALLOWED})) EXECUTE FUNCTION marketplace_refuse_move();
    ALTER TABLE marketplace_replica ENABLE ALWAYS TRIGGER marketplace_replica_moves;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("marketplace", "0015_trust"),
    ]

    operations = [
        migrations.AddField(
            model_name="agent",
            name="store_mib",
            field=models.PositiveIntegerField(db_default=0, default=0, help_text="offered for copies of artifacts"),
        ),
        migrations.AddField(
            model_name="cachedblob",
            name="kept",
            field=models.BooleanField(db_default=False, default=False, help_text="a copy that somebody wished, not a cache's"),
        ),
        migrations.CreateModel(
            name="Pin",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("until", models.DateTimeField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "blob",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="pins", to="marketplace.blob"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="pins", to="marketplace.organization"
                    ),
                ),
                (
                    "pinned_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("blob", "organization"), name="pin_once")],
            },
        ),
        migrations.CreateModel(
            name="Replica",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("bytes", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("wanted", "Wanted"),
                            ("copying", "Copying"),
                            ("held", "Held"),
                            ("failed", "Failed"),
                            ("gone", "Gone"),
                        ],
                        default="wanted",
                        max_length=7,
                    ),
                ),
                ("detail", models.CharField(blank=True, default="", help_text="why it waits or failed", max_length=200)),
                ("tries", models.PositiveSmallIntegerField(default=0, help_text="copies that did not succeed")),
                ("told_at", models.DateTimeField(blank=True, help_text="when the pool's agent was last asked for it", null=True)),
                ("asked_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField(help_text="then it goes, unless the organization has pinned the blob")),
                (
                    "asked_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "blob",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="replicas", to="marketplace.blob"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="replicas", to="marketplace.organization"
                    ),
                ),
                (
                    "pool",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="replicas",
                        to="marketplace.pool",
                    ),
                ),
                ("region", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to="marketplace.region")),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state__in", ["copying", "held"])), fields=["pool", "blob"], name="replica_of_pool"
                    ),
                    models.Index(condition=models.Q(("state", "wanted")), fields=["id"], name="replica_wanted"),
                    models.Index(
                        condition=models.Q(("state", "gone"), _negated=True), fields=["expires_at"], name="replica_expires"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "gone"), _negated=True),
                        fields=("blob", "region", "organization"),
                        name="replica_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("pool__isnull", False), ("state__in", ["copying", "held"])),
                            models.Q(("pool__isnull", True), ("state", "wanted")),
                            ("state__in", ["failed", "gone"]),
                            _connector="OR",
                        ),
                        name="replica_pool_by_state",
                    ),
                    models.CheckConstraint(condition=models.Q(("bytes__gte", 0)), name="replica_bytes_not_negative"),
                ],
            },
        ),
        migrations.RunSQL(TRIGGER, "DROP TRIGGER marketplace_replica_moves ON marketplace_replica"),
    ]
