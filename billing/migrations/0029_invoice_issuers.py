"""Invoices name who issued them, as it was then; those that were final before name nobody."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0028_reversals")]

    operations = [
        migrations.AddField(
            "invoice",
            "issuer",
            models.JSONField(
                default=dict, blank=True, help_text="{name, address, tax_number} of who issued it, as they were then"
            ),
        ),
    ]
