"""`manage.py index_demo`: the shipped definitions, the sample statistics, generated values for what they lack, ten yearly runs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from index.demo import fill, fill_series


class Command(BaseCommand):
    help = "Fill the national profile for a demonstration. Generated values are marked wherever they show."

    def handle(self, *args: Any, **options: Any) -> None:
        run = fill()
        fill_series()
        self.stdout.write("there already" if run is None else f"edition {run.edition}: run {run.pk}, {run.digest}")
