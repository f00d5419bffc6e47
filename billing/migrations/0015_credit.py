"""What may still be spent follows the ledger and the charges."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_deltas"), ("marketplace", "0024_credit_guards")]

    operations = [
        migrations.RunSQL(
            (SQL / "0015_credit_moves.sql").read_text(),
            (SQL / "0015_credit_moves_reverse.sql").read_text(),
        )
    ]
