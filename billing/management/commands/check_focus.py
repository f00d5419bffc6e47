"""`manage.py check_focus FILE`: the rules of FOCUS 1.2 on a CSV or Parquet file, ours or another's."""

from __future__ import annotations

from argparse import ArgumentParser
from itertools import islice
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import F

from billing.exports.checks import check
from billing.exports.reading import opened
from billing.models import CreditNote, Invoice
from core.money import from_micros

MOST = 100


class Command(BaseCommand):
    help = "Check a file against the rules of FOCUS 1.2. With --totals its invoices must come to what the database says."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--totals", action="store_true", help="compare with the invoices that the file's rows name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with opened(options["file"]) as (header, rows):
                totals = _totals(options["file"]) if options["totals"] else None
                found = list(islice(check(header, rows, totals), MOST))
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['file']} cannot be read: {error}") from None
        for finding in found:
            self.stdout.write(str(finding))
        if found:
            raise CommandError(f"{len(found)}{' or more' if len(found) == MOST else ''} rules are broken")
        self.stdout.write("no rule of FOCUS 1.2 that is checked here is broken")


def _totals(file: Path) -> dict[str, Any]:
    with opened(file) as (_, rows):
        named = {row.get("InvoiceId", "") for row in rows}
    totals = Invoice.objects.filter(number__in=named).values_list("number", "total_micros")
    notes = CreditNote.objects.filter(number__in=named).values_list("number", -F("net_micros") - F("tax_micros"))
    return {str(number): from_micros(micros) for number, micros in [*totals, *notes]}
