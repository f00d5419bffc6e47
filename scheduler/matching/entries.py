"""The rows of the program, and what each way takes of them: for columns to be written, and for the duals to price. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from scheduler.matching.columns import Column
from scheduler.matching.market import Bools, Floats, Ints, Market
from scheduler.matching.shares import Due
from scheduler.matching.ways import AHEAD, NOW, ahead_use

MB = 1e6  # links count in megabytes, so that their numbers are of the size of the others


NOWHERE = -1  # the row of what needs none; duals are read with a zero behind them, which is where -1 points


class Entries:
    """Rows in this order: classes, resources at pools, room ahead, reserved resources, links, budgets, dues.

    A pool has a row for a resource only where it can bind: not where no way that is open takes of it, and not where another
    resource of that pool is always used up first. `open_` are the pools open to each class, by kind.
    """

    def __init__(self, found: Sequence[Column], market: Market, dues: Sequence[Due], open_: Sequence[Sequence[Bools]]) -> None:
        self.found, self.market, self.dues, self.pools = found, market, dues, len(market)
        self.names = sorted({name for one in found for name in one.need})
        self.unit = {name: _typical([float(np.max(one.need.get(name, 0.0), initial=0.0)) for one in found]) for name in self.names}
        snapshot, self.rows = market.snapshot, len(found)
        binding, touched = self._binding(), self._touched([kinds[NOW] for kinds in open_])
        self.resource_at = {name: self._number(binding[name] & touched[name]) for name in self.names}
        self.ahead_at = self._number(np.any([kinds[AHEAD] for kinds in open_], axis=0))
        reserved = np.array([row in market.reserved for row in range(self.pools)], dtype=bool)
        self.reserved_at = {name: self._number(reserved) for name in self.names} if market.reserved else {}
        self.link_at = {link: self._one() for link in sorted(snapshot.slack)}
        self.budget_at = {org: self._one() for org in sorted(snapshot.budgets)}
        self.dues_at = self.rows
        self.rows += len(dues)

    def _number(self, wanted: Bools) -> Ints:
        """Rows for the pools that want one."""
        numbers = np.where(wanted, self.rows + np.cumsum(wanted) - 1, NOWHERE)
        self.rows += int(wanted.sum())
        return numbers

    def _one(self) -> int:
        self.rows += 1
        return self.rows - 1

    def _touched(self, open_now: Sequence[Bools]) -> dict[str, Bools]:
        """Resource → the pools where a class may start that takes of it."""
        touched = {name: np.zeros(self.pools, dtype=bool) for name in self.names}
        for one, rows in zip(self.found, open_now, strict=True):
            for name, amount in one.need.items():
                touched[name] |= rows & (np.asarray(amount) > 0)
        return touched

    def _binding(self) -> dict[str, Bools]:
        """Resource → the pools where it may be used up before every other one, by what any class needs of it."""
        free = np.maximum(np.array([self.market.column(self.market.free, name) for name in self.names]), 1e-9)
        binds = {name: np.ones(self.pools, dtype=bool) for name in self.names}
        if any(one.is_mixed for one in self.found):  # what is used up first would differ from pool to pool
            return binds
        needs = np.array([[one.need.get(name, 0.0) for one in self.found] for name in self.names])
        for i, name in enumerate(self.names):
            for j in range(len(self.names)):
                most = _largest_ratio(needs[i], needs[j])  # of need of this to need of the other, over the classes
                if i != j:  # of two that cover each other the first keeps its row
                    covered = most * free[j] <= free[i] if j < i else most * free[j] < free[i]
                    binds[name] &= ~covered
        return binds

    def limits(self, units: Floats) -> tuple[Floats, Floats]:
        """Lower and upper limits of all rows."""
        snapshot, upper = self.market.snapshot, np.full(self.rows, np.inf)
        upper[: len(units)] = units
        for name, rows in self.resource_at.items():
            _set(upper, rows, self.market.column(self.market.free, name) / self.unit[name])
        _set(upper, self.ahead_at, 1 - self.market.ahead)
        for name, rows in self.reserved_at.items():
            _set(upper, rows, self.market.column(self.market.unreserved, name) / self.unit[name])
        for link, row in self.link_at.items():
            upper[row] = max(snapshot.slack[link] / MB, 0.0)
        for org, row in self.budget_at.items():
            upper[row] = max(snapshot.budgets[org], 0.0)
        lower = np.full(self.rows, -np.inf)
        lower[: len(units)] = units
        lower[self.dues_at :] = [due.due for due in self.dues]
        return lower, upper

    def parts(self, number: int, kind: int) -> Iterator[tuple[Ints, Floats]]:
        """What a class's way takes: at every pool the row, and how much of it."""
        one, ones = self.found[number], np.ones(self.pools)
        yield self._same(number), ones
        for name, amount in one.need.items() if kind == NOW else ():
            if np.any(amount):
                yield self.resource_at[name], amount / self.unit[name] * ones
                if self.reserved_at:
                    yield self.reserved_at[name], amount / self.unit[name] * one.long.astype(np.float64)
        if kind == AHEAD:
            yield self.ahead_at, ahead_use(one)
        yield from self._sides(one)

    def _same(self, row: int) -> Ints:
        return np.full(self.pools, row, dtype=np.int64)

    def _sides(self, one: Column) -> Iterator[tuple[Ints, Floats]]:
        """Of links, budgets and dues."""
        organization = one.one.document["organization"]
        for link, sizes in one.over_links().items() if self.link_at else ():
            if link in self.link_at:
                yield self._same(self.link_at[link]), sizes / MB
        if organization in self.budget_at:
            yield self._same(self.budget_at[organization]), one.price
        for i, due in enumerate(self.dues):
            if due.organization == organization:
                yield self._same(self.dues_at + i), np.full(self.pools, due.share_of(one.typical))

    def worth(self, number: int, kind: int, duals: Floats) -> Floats:
        """What the rows that a way takes are worth, at every pool."""
        padded, value = np.append(duals, 0.0), np.zeros(self.pools)
        for rows, amounts in self.parts(number, kind):
            value += amounts * padded[rows]
        return value

    def columns(self, number: int, kind: int, pools: Ints) -> tuple[Ints, Ints, Floats]:
        """The ways of a class to some pools as sparse columns: starts, indices, values."""
        parts = [(rows[pools], amounts[pools]) for rows, amounts in self.parts(number, kind)]
        at = np.array([rows for rows, _ in parts]).T
        values = np.array([amounts for _, amounts in parts]).T
        filled = (at != NOWHERE) & (values != 0)
        starts = np.concatenate([[0], np.cumsum(filled.sum(axis=1))[:-1]])
        return starts.astype(np.int32), at[filled].astype(np.int32), values[filled]

    def resource_blocks(self, duals: Floats) -> Iterator[tuple[str, Floats]]:
        """Resource → its rows' duals, one per pool."""
        padded = np.append(duals, 0.0)
        for name, rows in self.resource_at.items():
            block = padded[rows] + (padded[self.reserved_at[name]] if self.reserved_at else 0.0)
            yield name, block / self.unit[name]


def _typical(needs: Sequence[float]) -> float:
    """What a resource is counted in, so that the program's numbers are of one size: the middle one of the needs for it."""
    asked = [need for need in needs if need > 0]
    return float(np.median(asked)) if asked else 1.0


def _largest_ratio(mine: Floats, other: Floats) -> float:
    """The largest need of one resource per need of another; infinite when a class needs the one and not the other."""
    asked = mine > 0
    if not asked.any():
        return 0.0
    return float(np.divide(mine[asked], other[asked], out=np.full(int(asked.sum()), np.inf), where=other[asked] > 0).max())


def _set(upper: Floats, rows: Ints, values: Floats) -> None:
    there = rows != NOWHERE
    upper[rows[there]] = np.maximum(values[there], 0.0)
