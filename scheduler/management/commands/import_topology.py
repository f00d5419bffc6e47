"""`manage.py import_topology FILE [--replace]`: nodes and links from a topology in GML, with every decision listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import DomainError
from scheduler.network.gml import Defaults, read_topology
from scheduler.services.network import import_topology, known_repairs

MAX_BYTES = 20_000_000


class Command(BaseCommand):
    help = "Import a network topology in GML, as the Internet Topology Zoo writes it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--replace", action="store_true", help="remove what this network had before")
        parser.add_argument("--mbps", type=int, default=Defaults().mbps, help="of links without a speed")
        parser.add_argument("--price-per-gb", type=float, default=0.0, help="of every link, for 10^9 bytes")
        parser.add_argument("--carbon-g-per-gb", type=float, default=0.0, help="of every link, for 10^9 bytes")

    def handle(self, *args: Any, file: Path, replace: bool, **options: Any) -> None:
        if options["mbps"] < 1 or not options["price_per_gb"] >= 0 or not options["carbon_g_per_gb"] >= 0:
            raise CommandError("bandwidth is above 0, prices and carbon are not negative")
        given = {name: options[name] for name in ("mbps", "price_per_gb", "carbon_g_per_gb")}
        try:
            topology = read_topology(text_of(file), repairs=known_repairs(), defaults=Defaults(**given))
            done = import_topology(topology, replace=replace)
        except DomainError as error:
            how = " (--replace)" if error.code == "topology_exists" else ""
            raise CommandError(f"{file}: {error.detail}{how}") from error
        for note in topology.notes:
            self.stdout.write(f"note: {note}")
        again = f" (in place of {done.replaced} nodes)" if done.replaced else ""
        self.stdout.write(f"{topology.name}: {done.nodes} nodes, {done.links} links{again}; {len(done.regions)} regions served")


def text_of(file: Path) -> str:
    """The file's text, or a CommandError that says why not."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise CommandError(f"{file} is larger than {MAX_BYTES:,} bytes")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 text") from error
