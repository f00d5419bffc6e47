"""A map that was shown stays."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("index", "0007_maps")]
    operations = [
        migrations.RunSQL((SQL / "0008_map_guards.sql").read_text(), (SQL / "0008_map_guards_reverse.sql").read_text()),
    ]
