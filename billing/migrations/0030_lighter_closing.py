"""Closing writes less.

A month is inserted and closed by one update. No index looks at its state any more and its pages keep room, so that the update
stays on its page (a heap-only tuple) and the exclusion of overlapping months is not asked a second time. What an invoice's lines
may hold is asked once per line, not once per charge.
"""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0029_invoice_issuers'),
    ]

    operations = [
        migrations.RemoveIndex(model_name='billingperiod', name='period_to_close'),
        migrations.AddIndex(
            model_name='invoice',
            index=models.Index(condition=models.Q(('state', 'gathering')), fields=['id'], name='invoice_gathering'),
        ),
        migrations.RunSQL(
            (SQL / "0030_lighter_closing.sql").read_text(),
            (SQL / "0030_lighter_closing_reverse.sql").read_text(),
        ),
    ]
