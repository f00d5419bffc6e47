"""Django's command; without a target, which may lie behind, it goes forward quickly: see config/migrating.py."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.core.management.commands import migrate

from config.migrating import in_place


class Command(migrate.Command):
    """`manage.py migrate`."""

    def handle(self, *args: Any, **options: Any) -> None:
        with nullcontext() if options["migration_name"] else in_place():
            super().handle(*args, **options)
