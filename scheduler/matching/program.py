"""The optimum of a round: a linear program over class x pool counts, solved by HiGHS with columns made on demand.

    min   sum c x + sum w u                              money: of what is placed, of what waits (waiting.py)
    s.t.  sum x + u = waiting              per class     every unit placed or left waiting
          sum need x <= free               per pool and resource (cores, memory, disk, accelerators by model)
          sum share / limit x <= ahead     per pool      units fetched ahead of their start
          sum need x <= free - reserved    per reserved pool and resource, of units not over when the reservation begins
          sum bytes x <= slack             per link      what the network carries until the next round
          sum price x <= budget            per organization
          sum market share x + lack >= due per organization, when there is not enough for all (shares.py)

A unit goes to a pool `now` (it starts at once) or `ahead` (it is fetched, and starts when another ends). A class begins with
its cheapest ways; the duals then price all other ways of all classes at once, those that would improve the plan join, and the
primal simplex method goes on from its last basis, until none would: the optimum is that of the whole program although few of
its columns were ever written down (column generation, Gilmore and Gomory 1961).

Ties: every cost grows by a hair with the pool's place in the market's order, and a class's waiting with its place in
the order given (oldest first). So the optimum is one point, and the same snapshot gives the same plan.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np
from highspy._core import _Highs

from scheduler.matching.columns import Column
from scheduler.matching.entries import Entries
from scheduler.matching.market import Bools, Floats, Ints, Market
from scheduler.matching.shares import Due
from scheduler.matching.waiting import Waits
from scheduler.matching.ways import KINDS, NOW, cost_of, open_ways

FIRST: Final = 16  # ways of a kind that a class begins with
FIRST_OF_POOL: Final = 4  # classes that a pool begins with
MORE: Final = 2  # ways of a class and kind that may join in one pricing
MORE_OF_POOL: Final = 3  # and classes at a pool
TIE_POOL: Final = 1e-4  # of costs scaled so that the median is SCALE
TIE_CLASS: Final = 1e-5  # relative
SCALE: Final = 1e4
MOST_COST: Final = 1e8  # of scaled costs; far beyond it the dual simplex gives up, and with it the optimum
IMPROVES: Final = 1e-6 * SCALE
PRIMAL: Final = 4  # HiGHS's number of the primal simplex method
CLOSE: Final = 1e-3  # of the program's value: nearer to its optimum than this is near enough; `bound` counts it


@dataclass(slots=True)
class Optimum:
    """The program's answer: ways (class number, row of the pool, kind) and the units that go each way.

    duals      resource → what one more of it at each pool would save, in money
    worth      of each class, what one unit less of it would save
    bound      the program's value; no whole plan costs less
    """

    number: Ints
    row: Ints
    kind: Ints
    units: Floats
    duals: dict[str, Floats]
    worth: Floats
    bound: float
    finished: bool


class Program:
    """One round's program. `found` are its classes, each of which fits a pool."""

    def __init__(self, found: Sequence[Column], market: Market, waits: Waits, dues: Sequence[Due] = ()) -> None:
        self.found, self.waits, self.waiting, self.dues = found, waits, waits.costs, dues
        self.units = np.array([one.one.waiting for one in found], dtype=np.float64)
        cheapest = [float(one.cost(0.0)[one.fits].min()) for one in found]
        dearest = max(float(self.waiting.max()), *(due.lack_cost for due in dues), 1e-12)
        self.scale = min(SCALE / max(float(np.median(cheapest)), 1e-12), MOST_COST / dearest)
        hairs = TIE_POOL * np.arange(len(market)) / max(len(market), 1)
        # tables of kinds x classes x pools
        self.money = np.array([[cost_of(one, kind) for one in found] for kind in range(KINDS)])
        self.costs = self.money * self.scale + hairs
        self.open = np.array([[open_ways(one, kind) for one in found] for kind in range(KINDS)])
        self.share = np.array([one.share for one in found])
        # a bound only where it says more than the rows do (a part of a unit fits): else the rows would lose their prices to it
        self.most = np.array([np.where(one.parts, one.room, np.inf) for one in found])
        self.entries = Entries(found, market, dues, self.open)
        self.number, self.row, self.kind = _NONE, _NONE, _NONE
        self.first = len(found) + len(dues)  # columns before the first way
        self.gap = 0.0
        self.solver = _solver()

    def solve(self, time_box_s: float) -> Optimum:
        """The optimum, or how far the time box allowed to come (`finished` tells)."""
        until = time.monotonic() + time_box_s
        self._begin()
        while (left := until - time.monotonic()) > 0:
            self.solver.setOptionValue("time_limit", self.solver.getRunTime() + left)
            self.solver.run()
            if self.solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
                break
            solution, value = self.solver.getSolution(), self.solver.getObjectiveValue()
            values, duals = np.array(solution.col_value), np.array(solution.row_dual)
            if self._join(duals) <= CLOSE * value:
                return self._answer(values, duals, finished=True)
        return self._answer(np.zeros(self.first), np.zeros(self.entries.rows), finished=False)

    def _begin(self) -> None:
        """Rows, the ways that leave units waiting (and the lacks of dues), and the first ways of each class."""
        rows, classes = self.entries.rows, len(self.found)
        lower, upper = self.entries.limits(self.units)
        self.solver.addRows(rows, lower, upper, 0, np.zeros(rows, dtype=np.int32), _NO_INTS, _NO_FLOATS)
        hair = 1 + TIE_CLASS * (classes - np.arange(classes)) / classes
        costs = np.concatenate([self.waiting * hair * self.scale, [due.lack_cost * self.scale for due in self.dues]])
        at = np.concatenate([np.arange(classes), self.entries.dues_at + np.arange(len(self.dues))]).astype(np.int32)
        n = len(costs)
        self.solver.addCols(n, costs, np.zeros(n), np.full(n, np.inf), n, np.arange(n, dtype=np.int32), at, np.ones(n))
        for kind in range(KINDS):
            self._add(kind, self._first(kind))
        self._start_from_nothing()

    def _start_from_nothing(self) -> None:
        """The basis to begin with: nothing placed, every unit left waiting and every due lacking, which is a solution."""
        basis, rows = highspy.HighsBasis(), self.entries.rows
        met = [*range(len(self.found)), *range(self.entries.dues_at, self.entries.dues_at + len(self.dues))]
        basis.col_status = [_BASIC] * self.first + [_LOWER] * len(self.row)
        row_status = [_BASIC] * rows
        for row in met:
            row_status[row] = _LOWER
        basis.row_status, basis.valid = row_status, True
        self.solver.setBasis(basis)

    def _first(self, kind: int) -> Bools:
        """Of each class the cheapest ways, queues counted, as there the optimum will find room; of each pool the classes that save
        most by the share of it that they take."""
        queue_s = self.waits.queue_s
        crowded = np.array([one.cost(one.wait_s + queue_s) for one in self.found])
        first = least(np.where(self.open[kind], crowded, np.inf), FIRST, axis=1)
        saved = (self.waiting[:, None] - self.money[kind]) / self.share
        return first | least(np.where(self.open[kind] & (saved > 0), -saved, np.inf), FIRST_OF_POOL, axis=0)

    def _join(self, duals: Floats) -> float:
        """Let ways join that would improve the program, the best few of each class and of each pool (there by share).

        Returns by how much the whole program's value may still lie below the present one (Lasdon's bound: each class's units
        times its most negative reduced cost).
        """
        worst = np.zeros(len(self.found))
        for kind in range(KINDS):
            if self.open[kind].any():
                reduced = np.where(self.open[kind], self.costs[kind] - self.entries.worth(kind, duals), 0.0)
                worst = np.minimum(worst, reduced.min(axis=1))
                better = np.where(reduced < -IMPROVES, reduced, np.inf)
                self._add(kind, least(better, MORE, axis=1) | least(better / self.share, MORE_OF_POOL, axis=0))
        self.gap = -float(worst @ self.units)
        return self.gap

    def _add(self, kind: int, chosen: Bools) -> None:
        """Write ways (classes x pools) down as columns of the solver's program."""
        numbers, rows = np.nonzero(chosen)
        if not len(rows):
            return
        starts, at, values = self.entries.columns(kind, numbers, rows)
        n = len(rows)
        upper = self.most[numbers, rows] if kind == NOW else np.full(n, np.inf)
        self.solver.addCols(n, self.costs[kind, numbers, rows], np.zeros(n), upper, len(at), starts, at, values)
        self.open[kind] &= ~chosen
        self.number = np.concatenate([self.number, numbers])
        self.row = np.concatenate([self.row, rows])
        self.kind = np.concatenate([self.kind, np.full(n, kind)])

    def _answer(self, values: Floats, duals: Floats, *, finished: bool) -> Optimum:
        units, classes = values[self.first :], len(self.found)
        n = len(units)  # ways that joined after the last solution carry nothing
        number, row, kind = self.number[:n], self.row[:n], self.kind[:n]
        paid = float(self.money[kind, number, row] @ units)
        lacks = float(np.array([due.lack_cost for due in self.dues]) @ values[classes : self.first]) if self.dues else 0.0
        bound = paid + lacks + float(self.waiting @ values[:classes]) - self.gap / self.scale
        prices = {name: np.maximum(-block, 0.0) / self.scale for name, block in self.entries.resource_blocks(duals)}
        worth = duals[:classes] / self.scale
        return Optimum(number, row, kind, units, prices, worth, bound, finished)


def least(table: Floats, most: int, axis: int) -> Bools:
    """The `most` least finite values along an axis; of equals the first."""
    left = table.copy()
    for _ in range(min(most, table.shape[axis])):
        np.put_along_axis(left, np.expand_dims(left.argmin(axis), axis), np.inf, axis)
    chosen: Bools = np.isfinite(table) & np.isinf(left)
    return chosen


_BASIC, _LOWER = highspy.HighsBasisStatus.kBasic, highspy.HighsBasisStatus.kLower
_NONE: Final = np.zeros(0, dtype=np.int64)
_NO_INTS: Final = np.zeros(0, dtype=np.int32)
_NO_FLOATS: Final = np.zeros(0)


def _solver() -> Any:
    """HiGHS, on one thread, so that the same program has the same answer; and silent.

    The binding itself, as the class around it prints a line to stdout before it can be told not to.
    """
    solver: Any = _Highs()
    # Costs and rows are scaled here already; HiGHS's own scaling, and presolving between re-solves, cost more than they save.
    # Columns that join leave the last solution feasible, so the primal method goes on where the dual would have to begin again.
    options = {"output_flag": False, "threads": 1, "random_seed": 1, "solver": "simplex", "simplex_scale_strategy": 0}
    for name, value in (options | {"presolve": "off", "simplex_strategy": PRIMAL}).items():
        solver.setOptionValue(name, value)
    return solver
