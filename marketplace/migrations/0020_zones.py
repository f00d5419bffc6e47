from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0019_contracts")]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="zone",
            field=models.CharField(blank=True, db_default="", default="", help_text="IANA; whose days and months its money has. Empty: the market's", max_length=64),
        ),
    ]
