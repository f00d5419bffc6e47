"""`manage.py index_count`: count the platform's own month now; the nightly job does the same."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from index.live.services import count_months


class Command(BaseCommand):
    help = "Count what the platform offers, did and earned this month, as observations of its own profile."

    def handle(self, *args: Any, **options: Any) -> None:
        for batch in count_months():
            self.stdout.write(f"{batch.name}: {batch.rows} values, batch {batch.pk}")
