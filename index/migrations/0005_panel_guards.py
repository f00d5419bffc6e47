"""What was judged stays once weights were recorded of it."""

from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"


class Migration(migrations.Migration):
    dependencies = [("index", "0004_panels")]
    operations = [
        migrations.RunSQL((SQL / "0005_panel_guards.sql").read_text(), (SQL / "0005_panel_guards_reverse.sql").read_text()),
    ]
