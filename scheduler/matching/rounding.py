"""From fractions to whole units: floor, then give what is left to pools that still have room. Pure.

A basic solution has about as many fractions as it has full rows, so few units are concerned however many wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from scheduler.matching.columns import Column, room_of
from scheduler.matching.market import Floats, Market
from scheduler.matching.program import Optimum
from scheduler.matching.ways import AHEAD, NOW, ahead_use, ahead_wait, fetchable

NEARLY: Final = 1e-6


class Room:
    """What is left of the market while units are handed out."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.free = {name: column.copy() for name, column in market.free.items()}
        self.unreserved = {name: column.copy() for name, column in market.unreserved.items()} if market.reserved else {}
        self.ahead = np.maximum(1 - market.ahead, 0.0)
        self.slack = dict(market.snapshot.slack)
        self.budgets = dict(market.snapshot.budgets)

    def now(self, found: Column) -> Floats:
        """Units of a class that could start at once, per pool."""
        room = room_of(found.need, self.free, len(self.market))
        if self.unreserved and found.long.any():
            room = np.where(found.long, np.minimum(room, room_of(found.need, self.unreserved, len(self.market))), room)
        return np.where(found.fits, room, 0.0)

    def fetched(self, found: Column) -> Floats:
        """Units of a class that could be fetched ahead, per pool."""
        if found.one.document.get("gang"):
            return np.zeros(len(self.market))
        room = np.floor(self.ahead / ahead_use(found) + 1e-9)
        return np.where(fetchable(found), room, 0.0)

    def most(self, found: Column, row: int) -> float:
        """The most units that links and the budget still allow at a pool."""
        most = [float("inf")]
        if self.slack:
            sizes = {link: over[row] for link, over in found.over_links().items() if link in self.slack and over[row]}
            most += [self.slack[link] / size for link, size in sizes.items()]
        organization = found.one.document["organization"]
        if organization in self.budgets and found.price[row] > 0:
            most.append(self.budgets[organization] / float(found.price[row]))
        return float(np.floor(max(min(most), 0.0) + 1e-9))

    def take(self, found: Column, row: int, kind: int, units: float) -> None:
        """Units were given to a pool."""
        if kind == NOW:
            for name, amount in found.need_at(row).items():
                self.free[name][row] -= units * amount
                if self.unreserved and found.long[row]:
                    self.unreserved[name][row] -= units * amount
        else:
            self.ahead[row] -= units * ahead_use(found)[row]
        if self.slack:
            for link, sizes in found.over_links().items():
                self.slack[link] = self.slack.get(link, 0.0) - units * sizes[row]
        organization = found.one.document["organization"]
        if organization in self.budgets:
            self.budgets[organization] -= units * float(found.price[row])


Given = dict[tuple[int, int, int], int]  # (class number, row, kind) → units


def round_down(optimum: Optimum, found: Sequence[Column], room: Room) -> tuple[Given, list[int]]:
    """Whole units of each way, and how many of each class the program placed only in parts."""
    given: Given = {}
    wanted = np.zeros(len(found))
    for i in np.flatnonzero(optimum.units > NEARLY):
        number, row, kind = int(optimum.number[i]), int(optimum.row[i]), int(optimum.kind[i])
        wanted[number] += optimum.units[i]
        units = int(optimum.units[i] + NEARLY)
        if units:
            given[number, row, kind] = units
            room.take(found[number], row, kind, units)
            wanted[number] -= units
    left = [int(np.ceil(value - NEARLY * 10)) for value in wanted]
    return given, [max(value, 0) for value in left]


def hand_out(number: int, found: Column, units: int, room: Room, given: Given, most_cost: float = float("inf")) -> int:
    """Give up to `units` of a class to the cheapest pools that have room, none dearer than `most_cost`. Returns those given."""
    done = 0
    while done < units:
        way = _cheapest(found, room, most_cost)
        if way is None:
            break
        row, kind, most = way
        count = int(min(units - done, most))
        room.take(found, row, kind, count)
        given[number, row, kind] = given.get((number, row, kind), 0) + count
        done += count
    return done


def _cheapest(found: Column, room: Room, most_cost: float) -> tuple[int, int, float] | None:
    """The cheapest way with room for a unit; ties go to the pool first in the market's order, to now before ahead."""
    best: tuple[float, int, int, float] | None = None
    ways = (NOW, room.now(found), found.cost(0.0)), (AHEAD, room.fetched(found), found.cost(ahead_wait(found)))
    for kind, rooms, costs in ways:
        rows = np.flatnonzero(rooms >= 1)
        for row in rows[np.argsort(costs[rows], kind="stable")][:50]:
            most = min(float(rooms[row]), room.most(found, int(row)))
            if most >= 1:
                cost = float(costs[row])
                if cost <= most_cost and (best is None or cost < best[0]):
                    best = (cost, int(row), kind, most)
                break
    return None if best is None else best[1:]
