"""The transaction that posted an entry, and triggers: seals are append-only, and each follows the last one."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_ledger")]

    operations = [
        migrations.RunSQL(
            (SQL / "0009_seal_guards.sql").read_text(),
            (SQL / "0009_seal_guards_reverse.sql").read_text(),
        )
    ]
