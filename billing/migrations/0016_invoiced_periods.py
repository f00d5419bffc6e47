"""Charges of whole months stand in lines of invoices, too."""

from pathlib import Path

import django.db.models.deletion
from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0015_credit'),
    ]

    operations = [
        migrations.CreateModel(
            name='InvoicedPeriod',
            fields=[
                ('charge', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='invoiced', serialize=False, to='billing.periodcharge')),
                ('line', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='invoiced_periods', to='billing.invoiceline')),
            ],
        ),
        migrations.RunSQL(
            (SQL / "0016_invoiced_periods.sql").read_text(),
            (SQL / "0016_invoiced_periods_reverse.sql").read_text(),
        ),
    ]
