"""What people read above lists of these rows."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations


class Migration(migrations.Migration):
    dependencies: ClassVar = [("marketplace", "0011_states_move_along_arrows")]

    operations: ClassVar = [
        migrations.AlterModelOptions(name="capability", options={"verbose_name_plural": "capabilities"}),
    ]
