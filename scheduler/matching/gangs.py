"""What must come first: gangs, all or nothing on one pool, and units that have waited beyond the age bound. Pure.

Neither accumulates room by holding what is free while it waits for more. A gang that fits nowhere now, or an aged unit that
does, gets a reservation instead: its part of its best pool is promised to it for the moment the work ahead is done. Until
then that part takes only units that are over by then (EASY backfill; the rest of the pool is free to all).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scheduler.matching.arcs import column
from scheduler.matching.columns import Column
from scheduler.matching.market import Floats, Market
from scheduler.matching.rounding import Given, Room
from scheduler.matching.values import ClassState, PoolState, Snapshot
from scheduler.matching.ways import NOW


@dataclass(slots=True)
class First:
    """What was decided before the program: units given, and the rows that were promised."""

    given: Given = field(default_factory=dict)
    promised: set[int] = field(default_factory=set)


def gang_size(found: Column) -> int:
    """Units that start together; 0: each for itself. Of a gang that has started, those that wait to be tried again."""
    return min(int(found.one.document.get("gang") or 0), found.one.waiting)


def roomiest(one: ClassState, snapshot: Snapshot) -> tuple[str, int]:
    """The pool on which most units of a class could start at once, and how many; ("", 0) where no pool fits."""
    found = column(one, Market(snapshot))
    rooms = Room(found.market).now(found)
    if not found.fits.any():
        return "", 0
    row = int(max(np.flatnonzero(found.fits), key=lambda row: (rooms[row], -row)))
    return found.market.pools[row].identifier, int(rooms[row])


def place_first(found: Sequence[Column], room: Room, age_bound_s: float) -> First:
    """Gangs and aged classes in the order given, with the room they take."""
    first = First()
    for number, one in enumerate(found):
        size = gang_size(one)
        if size:
            _place_gangs(number, one, size, room, first)
        elif one.one.age_s > age_bound_s and one.fits.any():
            _place_aged(number, one, room, first)
    return first


def _place_aged(number: int, one: Column, room: Room, first: First) -> None:
    """The oldest unit of an aged class takes what came free for it, before younger ones share it out among themselves.

    Where it is better off to wait for another pool than to start at once, the program decides as for everybody; where it could
    not start anywhere, it gets a reservation.
    """
    rooms = room.now(one) >= 1
    if not rooms.any():
        _reserve(one, 1, room, first)
        return
    best = int(one.best(1)[0])
    if rooms[best] and best not in first.promised and room.most(one, best) >= 1:
        room.take(one, best, NOW, 1)
        first.given[number, best, NOW] = 1


def _place_gangs(number: int, one: Column, size: int, room: Room, first: First) -> None:
    """As many whole gangs as start at once, the cheapest pools first; a reservation for the next one."""
    for _ in range(one.one.waiting // size):
        row = _roomiest(one, room.now(one), size, first)
        if row is None:
            _reserve(one, size, room, first)
            return
        room.take(one, row, NOW, size)
        first.given[number, row, NOW] = first.given.get((number, row, NOW), 0) + size


def _roomiest(one: Column, rooms: Floats, size: int, first: First) -> int | None:
    """The cheapest pool that has room for a whole gang and is promised to nobody."""
    costs = one.cost(0.0)
    rows = [row for row in np.flatnonzero(rooms >= size) if int(row) not in first.promised]
    return int(min(rows, key=lambda row: (costs[row], row))) if rows else None


def _reserve(one: Column, units: int, room: Room, first: First) -> None:
    """Promise room on the pool where it would be over first, unless all are promised already."""
    market = room.market
    rows = [int(row) for row in np.flatnonzero(one.fits) if int(row) not in first.promised]
    needs = {row: {name: amount * units for name, amount in one.need_at(row).items()} for row in rows}
    starts = {
        row: free_in(market.pools[row], need, {name: room.free[name][row] for name in need}) for row, need in needs.items()
    }
    if rows:
        best = min(rows, key=lambda row: (starts[row] + one.work_s[row], row))
        first.promised.add(best)
        market.reserve(best, starts[best], needs[best])


def free_in(pool: PoolState, need: Mapping[str, float], free: Mapping[str, float]) -> float:
    """Seconds until so much is expected to be free: units of a kind, begun at any time, end evenly over a run's length.

    Without knowledge of what runs, the work ahead of the pool stands for it.
    """
    if not pool.running:
        return pool.backlog_s
    groups = [(run_s, dict(held)) for run_s, held in pool.running]
    waits = (_when(amount - free[name], [(run_s, held.get(name, 0.0)) for run_s, held in groups]) for name, amount in need.items())
    return max(waits, default=0.0)


def _when(missing: float, ending: Sequence[tuple[float, float]]) -> float:
    """The first moment at which sum(amount x min(1, t / run)) is at least what is missing."""
    if missing <= 0:
        return 0.0
    gone, begin = 0.0, 0.0
    for end in sorted({run_s for run_s, _ in ending}):
        rate = sum(amount / run_s for run_s, amount in ending if run_s >= end)
        if rate > 0 and gone + rate * (end - begin) >= missing - 1e-9:
            return begin + (missing - gone) / rate
        gone, begin = gone + rate * (end - begin), end
    return begin
