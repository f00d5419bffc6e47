"""`manage.py index_replay HASH|FILE`: make a run again and compare it byte by byte.

HASH  the digest of a run in this database: its inputs are looked up again, too
FILE  a bundle that another platform wrote (GET /index/runs/{number}/bundle): needs no rows
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError

from core.errors import DomainError
from index.models import IndexRun
from index.running.services import bundle_of, replay, seen_again


class Command(BaseCommand):
    help = "Make a run of the index again, from this database or from a bundle, and compare it byte by byte."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("run", help="the digest of a run, or a bundle's file")

    def handle(self, *args: Any, **options: Any) -> None:
        bundle, more = _bundle(options["run"])
        try:
            found = replay(bundle) | more
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError, DomainError) as error:
            raise CommandError(f"it cannot be made again: {error}") from None
        for part, (before, now) in found.items():
            self.stdout.write(f"{part:9} {before} {'the same' if before == now else 'now ' + now}")
        if any(before != now for before, now in found.values()):
            raise CommandError("the run does not come to the same bytes")


def _bundle(name: str) -> tuple[Any, dict[str, tuple[str, str]]]:
    if Path(name).is_file():
        try:
            return orjson.loads(Path(name).read_bytes()), {}
        except orjson.JSONDecodeError:
            raise CommandError(f"{name} is no bundle") from None
    run = IndexRun.objects.select_related("definition", "weights").filter(digest=name).order_by("pk").first()
    if run is None:
        raise CommandError("there is neither a run of this digest nor such a file")
    return bundle_of(run), {"database": (run.input_digest, seen_again(run))}
