"""`manage.py simulate TRACE --pools POOLS.json`: the planner of production on a trace, in virtual time; no database is read."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduler.simulator import (
    BadFile,
    Outcome,
    Park,
    Policy,
    Settings,
    Trace,
    figures_of,
    policy_named,
    read_park,
    read_trace,
    simulate,
)
from scheduler.simulator.measures import duration, table
from scheduler.simulator.plots import pictures

POLICIES = ("optimum", "greedy", "cheapest_first")


def a_policy(text: str) -> Policy:
    """As argparse wants it."""
    try:
        return policy_named(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def at_least(least: float) -> Any:
    """A number that is not below this, as argparse wants it."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not least <= value < float("inf"):
            raise ArgumentTypeError(f"{text[:40]!r} is no number from {least:g} on")
        return value

    return number


class Command(BaseCommand):
    help = "Run the planner on a trace (SWF, or JSON) against described pools, in virtual time."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("trace", type=Path, help="a .json trace, or one in the Standard Workload Format (.swf, .gz)")
        parser.add_argument("--pools", type=Path, required=True, metavar="POOLS.json")
        parser.add_argument("--policy", type=a_policy, nargs="+", metavar="NAME[:KEY=VALUE,...]",
                            default=[policy_named(name) for name in POLICIES],
                            help="optimum, greedy, cheapest_first, or an objective for all")  # fmt: skip
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--units-limit", type=int, metavar="N", help="only the first N units")
        parser.add_argument("--believe", action="store_true", help="take run times as asked for, learn nothing from ended units")
        parser.add_argument("--gap-s", type=at_least(0.0), default=0.05, help="least virtual time between rounds")
        parser.add_argument("--sweep-s", type=at_least(0.0), default=300.0, help="a round this often while units wait; 0: never")
        parser.add_argument("--time-box-s", type=at_least(0.001), default=60.0, help="wall time for the optimum of a round")
        parser.add_argument("--plots", type=Path, metavar="DIR", help="write waiting.svg, utilisation.svg, queue.svg there")
        parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            trace, park = read_trace(options["trace"], options["seed"]), read_park(options["pools"])
        except BadFile as error:
            raise CommandError(str(error)) from error
        if options["units_limit"] is not None:
            trace = trace.first(max(options["units_limit"], 0))
        if not trace.units:
            raise CommandError("no units are left to simulate")
        self._introduce(trace, park)
        names = ("gap_s", "sweep_s", "time_box_s", "seed")
        settings = Settings(learn=not options["believe"], **{name: options[name] for name in names})
        self._report([simulate(trace, park, policy, settings) for policy in options["policy"]], settings, options)

    def _introduce(self, trace: Trace, park: Park) -> None:
        cores = sum(pool.cores for pool in park.pools)
        span = trace.units[-1].at - trace.units[0].at
        self.stdout.write(
            f"{trace.name}: {len(trace.units):,} units in {duration(span)}; {len(park.pools):,} pools with {cores:,} cores"
        )
        for why, count in sorted(trace.left_out.items()):
            self.stdout.write(f"  left out: {count:,} {why}")

    def _report(self, outcomes: list[Outcome], settings: Settings, options: dict[str, Any]) -> None:
        figures = [figures_of(one) for one in outcomes]
        self.stdout.write(table(figures))
        for one, outcome in zip(figures, outcomes, strict=True):
            if outcome.policy.by == "optimum" and one.decided_by.get("greedy"):
                self.stdout.write(f"  {one.policy}: the time box ended {one.decided_by['greedy']:,} rounds; another run may differ")
        if options["json"]:
            document = {"trace": outcomes[0].trace.name, "settings": asdict(settings), "policies": [asdict(one) for one in figures]}
            options["json"].write_text(json.dumps(document, indent=1) + "\n")
        if options["plots"]:
            options["plots"].mkdir(parents=True, exist_ok=True)
            for name, picture in pictures(outcomes).items():
                (options["plots"] / name).write_text(picture)
