from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("metering", "0005_usage")]

    operations = [
        migrations.RunSQL(
            (SQL / "0006_events_never_change.sql").read_text(),
            (SQL / "0006_events_never_change_reverse.sql").read_text(),
        )
    ]
