import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """The market's prices, and for which full pools a class had better wait."""

    dependencies = [("scheduler", "0006_names_of_lists"), ("marketplace", "0013_carbon")]
    operations = [
        migrations.AddField("decision", "queued", models.JSONField(default=list, help_text="[[pool id, units]]: full pools for which the rest had better wait")),
        migrations.CreateModel(
            name="MarketPrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("resource", models.CharField(max_length=100)),
                ("price", models.FloatField(help_text="a signal, never charged")),
                ("pool", models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to="marketplace.pool")),
            ],
            options={
                "indexes": [
                    models.Index(fields=["at"], name="market_price_at"),
                    models.Index(fields=["pool", "at"], name="market_price_of_pool"),
                ]
            },
        ),
    ]
