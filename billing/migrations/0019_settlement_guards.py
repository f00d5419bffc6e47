"""What PostgreSQL keeps of payouts: moves, frozen contents, lines that are what their charges say."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("billing", "0018_settlement")]

    operations = [
        migrations.RunSQL(
            (SQL / "0019_payout_guards.sql").read_text(),
            (SQL / "0019_payout_guards_reverse.sql").read_text(),
        )
    ]
