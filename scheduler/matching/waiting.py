"""What it costs to wait: the market's queues as a fluid, filled class by class in the order given. Pure.

Leaving a unit for a later round is an alternative like any pool, and its cost is what decides whether a cheap pool that is
full is worth waiting for. Work that waits for a pool lengthens that pool's queue, so the cost of one more unit of a class

    cost(wait = backlog + queue + share x run x units / 1)                                       (linear in units)

rises at each pool, and a class spreads over pools until all it uses cost the same: water filling, in closed form once the
pools are sorted by cost. Its queues then stand before the classes that come after it. When all have queued, the cheapest
place for one more unit is what the program takes as the cost of leaving a unit of the class unplaced: equal for equal
classes, growing with a class's age, and never falling with more work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scheduler.matching.columns import Column
from scheduler.matching.market import Floats, Ints, Market

LATE: Final = 10.0  # what cannot wait without missing its deadline costs so many times what the dearest waiting costs
ROUND_S: Final = 5.0  # before the next chance to place it
LEAST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Waits:
    """Of each class: what leaving one unit unplaced costs, and the units that wait by row of the pool.

    queue_s  of each pool: seconds of the whole pool that wait for it
    """

    costs: Floats
    queues: list[dict[int, float]]
    queue_s: Floats


def waits(found: Sequence[Column], market: Market) -> Waits:
    """The cost of waiting for every class. Each fits at least one pool."""
    queue_s = np.zeros(len(market))
    queues = list[dict[int, float]]()
    for one in found:
        rows, units = spread(one, one.wait_s + queue_s)
        queue_s[rows] += units * one.share[rows] * one.run_s[rows]
        queues.append({int(row): float(count) for row, count in zip(rows, units, strict=True) if count > 0})
    costs = np.array([_one_more(one, one.wait_s + queue_s) for one in found])
    late = np.array([_is_late(one) for one in found], dtype=bool)
    return Waits(np.where(late, LATE * costs.max(initial=0.0), costs), queues, queue_s)


def _one_more(one: Column, wait_s: Floats) -> float:
    return float(one.cost(wait_s)[one.fits].min())


def spread(one: Column, wait_s: Floats) -> tuple[Ints, Floats]:
    """Water filling: the rows used and the units at each."""
    rows = np.flatnonzero(one.fits)
    base = one.cost(wait_s)[rows]
    order = np.argsort(base, kind="stable")
    rows, base = rows[order], base[order]
    slope = np.maximum(one.hour * one.share[rows] * one.run_s[rows] / 3600, LEAST)  # money per unit added
    rate, start = np.cumsum(1 / slope), np.cumsum(base / slope)
    levels = (one.one.waiting + start) / rate  # the level if the first i pools are used
    used = int(np.argmax(np.append(base[1:], np.inf) >= levels)) + 1
    level = float(levels[used - 1])
    return rows[:used], (level - base[:used]) / slope[:used]


def _is_late(one: Column) -> bool:
    """Would a unit that is not placed now miss its deadline everywhere?"""
    deadline = one.one.document.get("deadline")
    if deadline is None:
        return False
    work = one.wait_s + one.transfer_s + one.run_p90_s + one.return_s
    latest = float(deadline) - one.market.snapshot.at - work[one.fits]  # seconds that a start may still be put off
    return bool((latest < ROUND_S).all())
