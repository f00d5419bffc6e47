from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_copied_parties")]

    operations = [
        migrations.RunSQL(
            (SQL / "0004_ledger_guards.sql").read_text(),
            (SQL / "0004_ledger_guards_reverse.sql").read_text(),
        )
    ]
