"""Holds stay within what is available and resolve once; allowances and budgets follow them."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0023_credit")]

    operations = [
        migrations.RunSQL(
            (SQL / "0024_credit_guards.sql").read_text(),
            (SQL / "0024_credit_guards_reverse.sql").read_text(),
        )
    ]
