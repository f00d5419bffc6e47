"""What people read above lists of these rows."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0006_charges_by_time")]

    operations: ClassVar = [
        migrations.AlterModelOptions(name="costsofar", options={"verbose_name_plural": "costs so far"}),
        migrations.AlterModelOptions(name="journalentry", options={"verbose_name_plural": "journal entries"}),
    ]
