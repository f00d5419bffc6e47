"""Who decides a round of the simulation: the planner of production in its settings, or a naive rule beside it. Pure.

A policy is written NAME[:KEY=VALUE[,KEY=VALUE]]:

    optimum          the planner as it is                     greedy    the planner without its linear program
    cheapest_first   each waiting unit, in random order, to the lowest price that has room at once: what everyone has
    cheapest, fastest, balanced, greenest                     the planner, every task asking for this

    objective=NAME   every task asks for this                 age_bound_s=SECONDS   from when on units get a reservation
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scheduler.matching.arcs import column
from scheduler.matching.columns import Column
from scheduler.matching.goals import OBJECTIVES
from scheduler.matching.market import Market
from scheduler.matching.plan import AGE_BOUND_S, GREEDY, OPTIMUM, plan
from scheduler.matching.rounding import Room
from scheduler.matching.values import Placement, Snapshot
from scheduler.matching.ways import NOW

CHEAPEST_FIRST: Final = "cheapest_first"
NAMES: Final = (OPTIMUM, GREEDY, CHEAPEST_FIRST, *OBJECTIVES)


@dataclass(frozen=True, slots=True)
class Policy:
    """name  as it was written    by  optimum, greedy or cheapest_first    objective  of all tasks, "" leaves theirs"""

    name: str
    by: str = OPTIMUM
    objective: str = ""
    age_bound_s: float = AGE_BOUND_S

    def asked(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """A need as this policy has it asked for."""
        if not self.objective:
            return document
        return {name: value for name, value in document.items() if name != "weights"} | {"objective": self.objective}

    def decide(self, snapshot: Snapshot, time_box_s: float, chance: random.Random) -> tuple[list[Placement], str]:
        """The placements of a round, and which of the ways decided it."""
        if self.by == CHEAPEST_FIRST:
            return cheapest_first(snapshot, chance), CHEAPEST_FIRST
        planned = plan(snapshot, by=self.by, time_box_s=time_box_s, age_bound_s=self.age_bound_s)
        return [placement for one in planned.decisions for placement in one.placements], planned.decided_by


def policy_named(text: str) -> Policy:
    """The policy that a text describes. Raises ValueError saying what is wrong with it.

    >>> policy_named("optimum:objective=fastest,age_bound_s=3600").objective
    'fastest'
    """
    name, _, rest = text.partition(":")
    if name not in NAMES:
        raise ValueError(f"policy {name[:40]!r}: one of {', '.join(NAMES)}, please")
    by, objective, age_bound_s = (OPTIMUM, name, AGE_BOUND_S) if name in OBJECTIVES else (name, "", AGE_BOUND_S)
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key == "objective" and value in OBJECTIVES:
            objective = value
        elif key == "age_bound_s":
            age_bound_s = _seconds(text, value)
        else:
            raise ValueError(
                f"policy {text[:80]!r}: {part[:40]!r} is neither objective={'|'.join(OBJECTIVES)} nor age_bound_s=SECONDS"
            )
    return Policy(text, by, objective, age_bound_s)


def _seconds(text: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"policy {text[:80]!r}: age_bound_s is a number of seconds, from 0 on")
    return seconds


def cheapest_first(snapshot: Snapshot, chance: random.Random) -> list[Placement]:
    """Every waiting unit (a gang as one), in random order, to the pool with the lowest price that has room for it now.

    Room only shrinks within a round, so a class never looks again at a pool that was too full for it.
    """
    market = Market(snapshot)
    room = Room(market)
    found = [column(one, market) for one in snapshot.classes]
    sizes = [int(one.one.document.get("gang") or 1) for one in found]
    prices = [_by_price(one) for one in found]
    waiting = [number for number, one in enumerate(found) for _ in range(one.one.waiting // sizes[number])]
    chance.shuffle(waiting)
    given: dict[tuple[int, int], int] = {}
    for number in waiting:
        rows, size = prices[number], sizes[number]
        while rows and not _fits(found[number], rows[-1], size, room):
            rows.pop()
        if rows:
            room.take(found[number], rows[-1], NOW, size)
            given[number, rows[-1]] = given.get((number, rows[-1]), 0) + size
    return [_placement(found[number], row, units) for (number, row), units in sorted(given.items())]


def _by_price(found: Column) -> list[int]:
    """The rows that fit, dearest first."""
    rows = np.flatnonzero(found.fits)
    order = np.argsort((found.price + found.egress)[rows], kind="stable")
    return [int(row) for row in rows[order][::-1]]


def _fits(found: Column, row: int, units: int, room: Room) -> bool:
    free = all(room.free[name][row] + 1e-9 >= amount * units for name, amount in found.need_at(row).items())
    return free and room.most(found, row) >= units


def _placement(found: Column, row: int, units: int) -> Placement:
    return Placement(found.one.need_id, found.one.avoid, found.market.pools[row].id, int(found.offer[row]), units)
