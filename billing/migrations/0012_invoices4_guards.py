"""What PostgreSQL keeps of invoices: no overlapping months, moves, frozen contents, totals that add up."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_invoices4")]

    operations = [
        migrations.RunSQL(
            (SQL / "0012_invoice_guards.sql").read_text(),
            (SQL / "0012_invoice_guards_reverse.sql").read_text(),
        )
    ]
