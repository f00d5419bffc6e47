"""`manage.py make_trace FILE.swf`: a synthetic trace to simulate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduler.simulator.generate import swf_lines


class Command(BaseCommand):
    help = "Write a synthetic trace of a parallel machine in the Standard Workload Format."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--jobs", type=int, default=1_000)
        parser.add_argument("--cores", type=int, default=256, help="of the machine that the jobs are made for")
        parser.add_argument("--load", type=float, default=0.9, help="the part of the machine that they ask for")
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        jobs, cores, load = options["jobs"], options["cores"], options["load"]
        if jobs < 1 or cores < 2 or not 0 < load < 100:
            raise CommandError("at least one job, two cores, and a load above 0, please")
        options["file"].write_text("\n".join(swf_lines(jobs, cores, load=load, seed=options["seed"])) + "\n")
