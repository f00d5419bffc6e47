import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """What rarely changes of the market is stored once for many rounds."""

    dependencies = [("scheduler", "0010_verification")]
    operations = [
        migrations.CreateModel(
            name="KeptScene",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("document", models.JSONField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.AddField("round", "scene", models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name="rounds", to="scheduler.keptscene")),
        migrations.AlterField("round", "snapshot", models.JSONField(help_text="the planner's input, what the scene holds left out")),
    ]
