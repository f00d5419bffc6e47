"""Budgets count a publisher's share of what resources cost by the core time of their own tasks."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0037_rated_months")]

    operations = [
        migrations.RunSQL((SQL / "0038_budgeted_shares.sql").read_text(), (SQL / "0038_budgeted_shares_reverse.sql").read_text()),
    ]
