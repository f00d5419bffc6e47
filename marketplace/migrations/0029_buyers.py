"""Who buys has an address and a tax number, for its invoices."""

from django.db import migrations, models

_HELP = "stands on its invoices from the next one on"


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0028_dynamic_rates")]

    operations = [
        migrations.AddField(
            "organization", "billing_address", models.CharField(max_length=300, blank=True, default="", db_default="", help_text=_HELP)
        ),
        migrations.AddField(
            "organization", "tax_number", models.CharField(max_length=50, blank=True, default="", db_default="", help_text=_HELP)
        ),
    ]
