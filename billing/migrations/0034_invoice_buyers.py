"""Invoices freeze the buyer's address and tax number, too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0033_sla"), ("marketplace", "0029_buyers")]

    operations = [
        migrations.AlterField(
            "invoice",
            "bill_to",
            models.JSONField(
                default=dict, blank=True, help_text="{name, slug, address, tax_number} as they were when it was issued"
            ),
        ),
    ]
