"""What people read above lists of these rows."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("scheduler", "0005_states_move_along_arrows")]

    operations: ClassVar = [
        migrations.AlterModelOptions(name="ended", options={"verbose_name": "attempt not yet measured", "verbose_name_plural": "attempts not yet measured"}),
        migrations.AlterModelOptions(name="reportbatch", options={"verbose_name_plural": "report batches"}),
    ]
