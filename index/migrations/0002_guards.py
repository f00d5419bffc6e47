"""PostgreSQL keeps what was observed, weighed, computed and published."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("index", "0001_first_tables")]
    operations = [
        migrations.RunSQL((SQL / "0002_guards.sql").read_text(), (SQL / "0002_guards_reverse.sql").read_text()),
    ]
