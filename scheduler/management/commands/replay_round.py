"""`manage.py replay_round [ROUND]`: decide a stored round of the matcher again, and show that it comes to the same plan."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from marketplace.models import Pool
from scheduler.models import Decision, Round
from scheduler.services.placing import replay_round

Placed = list[tuple[int, list[list[int]]]]  # by class: [(need's id, [[pool's id, units]])]


class Command(BaseCommand):
    help = "Decide a stored round again from what it saw; without a number the newest. Fails where the plan differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("round", type=int, nargs="?", help="its number, as on the operators' page of rounds")

    def handle(self, *args: Any, **options: Any) -> None:
        this = found(options["round"])
        then: Placed = [(one.need_id, one.placed) for one in Decision.objects.filter(round=this).order_by("id")]
        now: Placed = [(one.need_id, [[p.pool_id, p.units] for p in one.placements]) for one in replay_round(this)]
        self.stdout.write(f"round {this.pk} of {this.at:%Y-%m-%d %H:%M:%S} UTC, waiting: {this.waiting}, by {this.decided_by}")
        names = dict(Pool.objects.filter(pk__in=pools_of(now)).values_list("pk", "identifier"))
        for need, places in now:
            told = ", ".join(f"{units} to {names.get(pool, f'pool {pool}')}" for pool, units in places)
            self.stdout.write(f"class {need}: {told}")
        if now != then:
            raise CommandError(f"it was decided differently then: {then}")
        self.stdout.write("the same plan as then")


def found(number: int | None) -> Round:
    """The round of this number, or the newest; a CommandError where there is none."""
    rounds = Round.objects.select_related("scene").order_by("-pk")
    this = rounds.first() if number is None else rounds.filter(pk=number).first()
    if this is None:
        raise CommandError("no round is stored" if number is None else f"no round {number} is stored; old ones are forgotten")
    return this


def pools_of(placed: Placed) -> set[int]:
    return {pool for _, places in placed for pool, _ in places}
