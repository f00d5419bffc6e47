"""A round keeps its cost and the bound that no plan is below."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("scheduler", "0013_demand")]

    operations = [
        migrations.AddField(
            model_name="round",
            name="bound",
            field=models.FloatField(help_text="no whole plan costs less; unknown where the plan was made greedily", null=True),
        ),
        migrations.AddField(
            model_name="round",
            name="cost",
            field=models.FloatField(
                help_text="of the plan as the program counts it: of what was placed, and of what waits", null=True
            ),
        ),
    ]
