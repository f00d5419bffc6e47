"""The rows of the program, and what each way takes of them: for columns to be written, and for the duals to price. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from scheduler.matching.columns import Column
from scheduler.matching.market import Bools, Floats, Ints, Market
from scheduler.matching.shares import Due
from scheduler.matching.ways import AHEAD, KINDS, NOW, ahead_use

MB = 1e6  # links count in megabytes, so that their numbers are of the size of the others


NOWHERE = -1  # the row of what needs none; duals are read with a zero behind them, which is where -1 points


class Entries:
    """Rows in this order: classes, resources at pools, room ahead, reserved resources, links, budgets, dues.

    A pool has a row for a resource only where it can bind: not where no way that is open takes of it, and not where another
    resource of that pool is always used up first. `open_` are the pools open to each class, by kind: kinds x classes x pools.
    """

    def __init__(self, found: Sequence[Column], market: Market, dues: Sequence[Due], open_: Bools) -> None:
        self.found, self.market, self.dues, self.pools = found, market, dues, len(market)
        self.names = sorted({name for one in found for name in one.need})
        self.unit = {name: _typical([float(np.max(one.need.get(name, 0.0), initial=0.0)) for one in found]) for name in self.names}
        self.needs = {name: self._need(name) for name in self.names}
        snapshot, self.rows = market.snapshot, len(found)
        binding = self._binding()
        self.resource_at = {
            name: self._number(binding[name] & (open_[NOW] & (self.needs[name] > 0)).any(axis=0)) for name in self.names
        }
        self.ahead_at = self._number(open_[AHEAD].any(axis=0))
        reserved = np.array([row in market.reserved for row in range(self.pools)], dtype=bool)
        self.reserved_at = {name: self._number(reserved) for name in self.names} if market.reserved else {}
        self.link_at = {link: self._one() for link in sorted(snapshot.slack)}
        self.budget_at = {org: self._one() for org in sorted(snapshot.budgets)}
        self.due_at = {due.organization: self._one() for due in dues}
        self.dues_at = self.rows - len(dues)
        self._by_pool = [list(self._of_pools(kind)) for kind in range(KINDS)]
        self._by_class = list(self._of_classes())
        self._over = list(self._over_links())

    def _need(self, name: str) -> Floats:
        """What each class needs of a resource, in the program's units: classes x 1, or x pools where variants differ."""
        amounts = [one.need.get(name, 0.0) for one in self.found]
        if any(isinstance(amount, np.ndarray) for amount in amounts):
            amounts = [np.broadcast_to(amount, self.pools) for amount in amounts]
        return np.array(amounts, dtype=np.float64).reshape(len(self.found), -1) / self.unit[name]

    def _number(self, wanted: Bools) -> Ints:
        """Rows for the pools that want one."""
        numbers = np.where(wanted, self.rows + np.cumsum(wanted) - 1, NOWHERE)
        self.rows += int(wanted.sum())
        return numbers

    def _one(self) -> int:
        self.rows += 1
        return self.rows - 1

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

    def _of_pools(self, kind: int) -> Iterator[tuple[Ints, Floats]]:
        """Of what is each pool's own: its row, and how much of it a way takes (classes x pools, or x 1 where all are alike)."""
        if kind == AHEAD:
            yield self.ahead_at, np.array([ahead_use(one) for one in self.found])
            return
        for name in self.names:
            yield self.resource_at[name], self.needs[name]
            if self.reserved_at:
                yield self.reserved_at[name], self.needs[name] * np.array([one.long for one in self.found])

    def _of_classes(self) -> Iterator[tuple[Ints, Floats]]:
        """Of what is each class's own, or its organization's: its row (or nowhere), and how much of it a way takes."""
        ones, organizations = np.ones((len(self.found), 1)), [one.one.document["organization"] for one in self.found]
        yield np.arange(len(self.found)), ones
        if self.budget_at:
            yield _places(self.budget_at, organizations), np.array([one.price for one in self.found])
        if self.dues:
            owed = {due.organization: due for due in self.dues}
            pairs = zip(self.found, organizations, strict=True)
            shares = [owed[name].share_of(one.typical) if name in owed else 0.0 for one, name in pairs]
            yield _places(self.due_at, organizations), np.array(shares)[:, None]

    def _over_links(self) -> Iterator[tuple[int, int, Floats]]:
        """Class, row of a link, and megabytes over it, by pool."""
        for number, one in enumerate(self.found if self.link_at else ()):
            for link, sizes in one.over_links().items():
                if link in self.link_at:
                    yield number, self.link_at[link], sizes / MB

    def worth(self, kind: int, duals: Floats) -> Floats:
        """What the rows that each way takes are worth: classes x pools."""
        padded, value = np.append(duals, 0.0), np.zeros((len(self.found), self.pools))
        for rows, amounts in self._by_pool[kind]:
            value += amounts * padded[rows]
        for rows, amounts in self._by_class:
            value += amounts * padded[rows][:, None]
        for number, row, sizes in self._over:
            value[number] += sizes * duals[row]
        return value

    def columns(self, kind: int, numbers: Ints, pools: Ints) -> tuple[Ints, Ints, Floats]:
        """The ways of some classes, each to a pool, as sparse columns: starts, indices, values."""
        every = np.arange(len(numbers))
        parts = [(every, rows[pools], _at(amounts, numbers, pools)) for rows, amounts in self._by_pool[kind]]
        parts += [(every, rows[numbers], _at(amounts, numbers, pools)) for rows, amounts in self._by_class]
        for number, row, sizes in self._over:
            own = np.flatnonzero(numbers == number)
            parts.append((own, np.full(len(own), row), sizes[pools[own]]))
        which, at, values = (np.concatenate(some) for some in zip(*parts, strict=True))
        filled = np.flatnonzero((at != NOWHERE) & (values != 0))
        filled = filled[np.argsort(which[filled], kind="stable")]
        starts = np.searchsorted(which[filled], every)
        return starts.astype(np.int32), at[filled].astype(np.int32), values[filled]

    def resource_blocks(self, duals: Floats) -> Iterator[tuple[str, Floats]]:
        """Resource → its rows' duals, one per pool."""
        padded = np.append(duals, 0.0)
        for name, rows in self.resource_at.items():
            block = padded[rows] + (padded[self.reserved_at[name]] if self.reserved_at else 0.0)
            yield name, block / self.unit[name]


def _places(rows: Mapping[str, int], organizations: Sequence[str]) -> Ints:
    return np.array([rows.get(organization, NOWHERE) for organization in organizations], dtype=np.int64)


def _at(amounts: Floats, numbers: Ints, pools: Ints) -> Floats:
    """A table's values for pairs of class and pool; one column stands for all pools."""
    found: Floats = amounts[numbers, pools] if amounts.shape[1] > 1 else amounts[numbers, 0]
    return found


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
