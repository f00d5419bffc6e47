"""A round, whole: which pools get how many units of each class, and why. Pure: values in, values out, no database.

    columns of all classes → gangs and aged units first → the optimum, in a time box → whole units → decisions

When the box is up before the optimum is proven, the same columns are filled greedily, class by class in the order given;
the plan says which of the two decided. The same snapshot decided the same way gives the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from scheduler.matching.arcs import column
from scheduler.matching.columns import Column
from scheduler.matching.gangs import place_first
from scheduler.matching.market import Market
from scheduler.matching.program import Optimum, Program
from scheduler.matching.rounding import Given, Room, hand_out, round_down
from scheduler.matching.shares import Due, dues
from scheduler.matching.values import Arc, ClassDecision, ClassState, Placement, Plan, PoolState, Prices, Snapshot
from scheduler.matching.waiting import Waits, waits
from scheduler.matching.ways import cost_of

OPTIMUM: Final = "optimum"
GREEDY: Final = "greedy"
TIME_BOX_S: Final = 2.0
AGE_BOUND_S: Final = 259_200.0
SHOWN: Final = 5


def decide(snapshot: Snapshot, **how: float | str) -> list[ClassDecision]:
    """One round's decisions, in the order of the snapshot's classes."""
    return list(plan(snapshot, **how).decisions)  # type: ignore[arg-type]


def plan(
    snapshot: Snapshot, *, by: str = OPTIMUM, time_box_s: float = TIME_BOX_S, age_bound_s: float = AGE_BOUND_S
) -> Plan:
    """One round. `by` greedy skips the program; so does an optimum that is not found within `time_box_s`."""
    market = Market(snapshot)
    found = [column(one, market) for one in snapshot.classes]
    room = Room(market)
    first = place_first(found, room, age_bound_s)
    if first.given or first.promised:
        found = _after(market, room, found, first.given)
    asking = [n for n, one in enumerate(found) if one.one.waiting and one.fits.any() and not one.one.document.get("gang")]
    listed = [found[number] for number in asking]
    waiting = waits(listed, market)
    owed = dues(listed, market, snapshot.used, waiting.costs)
    optimum = _optimum(listed, market, waiting, owed, time_box_s) if by == OPTIMUM and asking else None
    given = _given(listed, Room(market), optimum, waiting)
    everything = dict(first.given)
    for (place, row, kind), units in given.items():
        everything[asking[place], row, kind] = everything.get((asking[place], row, kind), 0) + units
    queues = {number: waiting.queues[place] for place, number in enumerate(asking)}
    decided_by = OPTIMUM if optimum is not None or not asking else GREEDY
    early = _cost(found, first.given)
    cost = early + _cost(listed, given) + _left(listed, given, waiting) + _lacks(listed, given, owed)
    duals = {} if optimum is None else _duals(optimum, market)
    bound = 0.0 if optimum is None else optimum.bound + early
    return Plan(_decisions(snapshot.classes, found, everything, queues), decided_by, duals, cost, bound)


def _after(market: Market, room: Room, found: Sequence[Column], given: Given) -> list[Column]:
    """The classes held against what gangs, aged units and reservations left; gangs keep the columns they had."""
    market.free = room.free
    if not market.reserved:
        market.forget_unreserved()
    placed: dict[int, int] = {}
    for (number, _, _), units in given.items():
        placed[number] = placed.get(number, 0) + units
    return [
        one if one.one.document.get("gang") else column(replace(one.one, waiting=one.one.waiting - placed.get(number, 0)), market)
        for number, one in enumerate(found)
    ]


def _optimum(
    found: Sequence[Column],
    market: Market,
    waiting: Waits,
    owed: Sequence[Due],
    time_box_s: float,
) -> Optimum | None:
    optimum = Program(found, market, waiting, owed).solve(time_box_s)
    return optimum if optimum.finished else None


def _given(found: Sequence[Column], room: Room, optimum: Optimum | None, waiting: Waits) -> Given:
    """Whole units: of the optimum, and then its parts class by class in the order given; or all of them greedily."""
    given, left = ({}, [one.one.waiting for one in found]) if optimum is None else round_down(optimum, found, room)
    for number, one in enumerate(found):
        if left[number]:
            hand_out(number, one, left[number], room, given, most_cost=float(waiting.costs[number]))
    return given


def _cost(found: Sequence[Column], given: Given) -> float:
    return sum(float(cost_of(found[number], kind)[row]) * units for (number, row, kind), units in given.items())


def _left(found: Sequence[Column], given: Given, waiting: Waits) -> float:
    """What the units cost that the plan leaves waiting."""
    left = [one.one.waiting for one in found]
    for (number, _, _), units in given.items():
        left[number] -= units
    return float(waiting.costs @ np.array(left, dtype=np.float64)) if found else 0.0


def _lacks(found: Sequence[Column], given: Given, owed: Sequence[Due]) -> float:
    """What it costs that organizations got less than they are owed."""
    got = dict.fromkeys((due.organization for due in owed), 0.0)
    for (number, _, _), units in given.items():
        one = found[number]
        for due in owed:
            if due.organization == one.one.document["organization"]:
                got[due.organization] += due.share_of(one.typical) * units
    return sum(max(due.due - got[due.organization], 0.0) * due.lack_cost for due in owed)


def _decisions(
    classes: Sequence[ClassState], found: Sequence[Column], given: Given, queues: Mapping[int, Mapping[int, float]]
) -> tuple[ClassDecision, ...]:
    by_class: dict[int, list[tuple[int, int, int]]] = {}
    for (number, row, kind), units in sorted(given.items()):
        by_class.setdefault(number, []).append((row, kind, units))
    pairs = enumerate(zip(classes, found, strict=True))
    return tuple(_decision(state, one, by_class.get(n, []), queues.get(n, {})) for n, (state, one) in pairs)


def _decision(
    state: ClassState, one: Column, given: Sequence[tuple[int, int, int]], queued: Mapping[int, float]
) -> ClassDecision:
    pools = one.market.pools
    units: dict[int, list[int]] = {}
    for row, kind, count in given:
        units.setdefault(row, [0, 0])[kind] += count
    placements = tuple(
        Placement(
            state.need_id, state.avoid, pools[row].id, int(one.offer[row]), now + ahead, ahead, state.apart, int(one.variant[row]),
            float(one.run_s[row]),
        )
        for row, (now, ahead) in units.items()
    )
    candidates = tuple(one.terms(int(row)) for row in one.best(SHOWN))
    waiting = state.waiting - sum(sum(counts) for counts in units.values())
    waits = tuple((pools[row].id, round(count, 3)) for row, count in sorted(queued.items()) if waiting > 0)
    return ClassDecision(state.need_id, state.avoid, placements, candidates, dict(one.excluded), waits)


def _duals(optimum: Optimum, market: Market) -> dict[tuple[int, str], float]:
    return {
        (market.pools[row].id, resource): round(float(prices[row]), 12)
        for resource, prices in optimum.duals.items()
        for row in np.flatnonzero(prices > 1e-12)
    }


def feasible_arcs(one: ClassState, snapshot: Snapshot) -> tuple[list[Arc], Mapping[str, int]]:
    """The arcs of a class, in the order in which ties break, and the pools left out counted by dimension."""
    found = column(one, Market(snapshot))
    return [found.arc(int(row)) for row in np.flatnonzero(found.fits)], found.excluded


def fitting(one: ClassState, snapshot: Snapshot, like: Market | None = None) -> tuple[list[PoolState], Mapping[str, int]]:
    """The pools that a class fits, and those left out counted by dimension: `feasible_arcs` without the terms.

    like  columns of a snapshot with just these pools and offers, for who asks about the same ones often
    """
    found = held_against(one, snapshot, like)
    return found.able, found.excluded


def held_against(one: ClassState, snapshot: Snapshot, like: Market | None = None) -> Column:
    """A class held against all pools of a snapshot, `like` as in `fitting`."""
    return column(one, Market(snapshot) if like is None else like.over(snapshot))


def could_take(one: ClassState, pool: PoolState) -> bool:
    """Would an idle pool take units of a class, whatever it asks for them?"""
    free = {(pool.id, one.document["offers_at"]): Prices(0, {})}
    return bool(fitting(one, Snapshot([one], [replace(pool, shares=0.0, held=(), closes_in_s=None)], free))[0])
