"""An aggregate that joins arrays of slots to one, for the month's 95th percentile (`metering/peaks_sql.py`)."""

from django.db import migrations

_JOINED = """
CREATE AGGREGATE metering_joined(bigint[]) (SFUNC = array_cat, STYPE = bigint[], INITCOND = '{}', PARALLEL = SAFE)
"""


class Migration(migrations.Migration):

    dependencies = [
        ('metering', '0012_reconciliations'),
    ]

    operations = [
        migrations.RunSQL(_JOINED, "DROP AGGREGATE metering_joined(bigint[])"),
    ]
