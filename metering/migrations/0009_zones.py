from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("metering", "0008_periods")]

    operations = [
        migrations.RunSQL(
            (SQL / "0009_zone_changes.sql").read_text(),
            (SQL / "0009_zone_changes_reverse.sql").read_text(),
        )
    ]
