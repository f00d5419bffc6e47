from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("metering", "0002_copied_parties")]

    operations = [
        migrations.RunSQL(
            (SQL / "0003_facts_never_change.sql").read_text(),
            (SQL / "0003_facts_never_change_reverse.sql").read_text(),
        )
    ]
