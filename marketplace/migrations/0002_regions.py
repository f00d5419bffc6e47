"""The 31 provinces, with their GB/T 2260 codes."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from marketplace.regions import load_regions


def forward(apps: Any, schema_editor: Any) -> None:
    load_regions(apps)


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0001_first_tables")]
    operations = [migrations.RunPython(forward, migrations.RunPython.noop)]
