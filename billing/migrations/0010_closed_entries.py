"""An entry takes legs only from the transaction that posted it."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_seal_guards")]

    operations = [
        migrations.RunSQL(
            (SQL / "0010_closed_entries.sql").read_text(),
            (SQL / "0010_closed_entries_reverse.sql").read_text(),
        )
    ]
