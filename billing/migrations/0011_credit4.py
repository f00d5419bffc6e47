"""What may still be spent follows the ledger and the charges."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_closed_entries"), ("marketplace", "0021_credit4_guards")]

    operations = [
        migrations.RunSQL(
            (SQL / "0011_credit_moves.sql").read_text(),
            (SQL / "0011_credit_moves_reverse.sql").read_text(),
        )
    ]
