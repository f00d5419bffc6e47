"""`manage.py close_periods`: close the months that are over and finalise what has had its grace, now rather than by the hour."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from billing.invoices.closing import close_all


class Command(BaseCommand):
    help = "Close months that are over and finalise their invoices. Safe to kill and repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--everything", action="store_true", help="find unbilled charges of any age")

    def handle(self, *args: Any, **options: Any) -> None:
        done = close_all(everything=options["everything"])
        self.stdout.write(
            f"{done.opened} months opened, {done.closed} closed, {done.finalised} invoices finalised, {done.parked} parked"
        )
