import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Units that exist by and by (a probe, stages, tasks that wait for others), and what a task needs of another."""

    dependencies = [("marketplace", "0017_reveal")]
    operations = [
        migrations.AddField("task", "units_open", models.PositiveIntegerField(blank=True, help_text="units that may exist by now: 0 while it waits for another task, 1 while a probe runs, else its stages so far", null=True)),
        migrations.AddField("task", "probing_until", models.DateTimeField(blank=True, help_text="its first unit runs alone, to be measured, until it is done or until then", null=True)),
        migrations.AddIndex("task", models.Index(condition=models.Q(("state", "delivered")), fields=["-ended_at"], name="task_delivered")),
        migrations.CreateModel(
            name="TaskReference",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("field", models.CharField(help_text="the input that names it", max_length=100)),
                ("position", models.PositiveIntegerField(default=0, help_text="in a list of several")),
                ("path", models.CharField(help_text="glob over the paths of the other's result", max_length=300)),
                ("needs", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="needed_by", to="marketplace.task")),
                ("task", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="references", to="marketplace.task")),
            ],
            options={"constraints": [models.UniqueConstraint(fields=("task", "field", "position"), name="task_reference_once")]},
        ),
    ]
