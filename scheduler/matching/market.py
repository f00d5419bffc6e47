"""A snapshot's pools as columns (NumPy arrays), so that a class is held against all pools at once.

Row i of every column is the same pool. Rows are in the order in which ties break: the less loaded pool first, so that equal
offers share the work, and of equally loaded ones the smaller identifier.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.matching.values import PoolState, Prices, Snapshot, own_prices
from scheduler.pace import ANYWHERE, Fit, Fits

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

FIXED: Final = (
    "regions", "providers", "instruction_sets", "sandboxed", "probation", "unproven", "worth", "levels", "listed",
    "free", "accelerated",
)  # fmt: skip
MOMENTS: Final = 64  # price lists of so many moments are kept
_NOTHING: Final = Prices(-1, {})
TURN_S: Final = 60.0  # a pool's turn: what waits in its line should start within
LEAST_S: Final = 1e-6
DEFAULT_CARBON: Final = 536.6  # g CO2 per kWh: the national average of 2022


class Learned(NamedTuple):
    """The rows of the pools that ran units of a kind, their fits in that order, and the fit over all pools that ever did."""

    rows: Ints
    fits: Fits
    anywhere: Fit | None


def _learned(by_row: dict[int, Fit], anywhere: Fit | None) -> Learned:
    return Learned(np.array(list(by_row), dtype=np.int64), Fits.of(list(by_row.values())), anywhere)


class Market:
    """Columns over the pools of a snapshot, and its dictionaries by the first part of their keys."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.pools: list[PoolState] = sorted(snapshot.pools, key=lambda pool: (round(pool.shares, 6), pool.identifier))
        self.row = {pool.id: i for i, pool in enumerate(self.pools)}
        self.cores = self._column("cores")
        self.speed = self._column("mflops") / 1e6 / np.maximum(self.cores, 1)  # TFLOPS of one core
        self.bandwidth = np.maximum(self._column("bandwidth_mbps"), 1) * 1e6 / 8  # bytes a second
        self.backlog = self._column("backlog_s")
        self.shares = self._column("shares")
        known = np.array([bool(pool.held) for pool in self.pools], dtype=bool)
        self.ahead = np.where(known, self._column("ahead"), np.clip(self.shares - 1, 0.0, 1.0))
        self.watts = self._column("watts")
        self.closes = np.array([np.inf if pool.closes_in_s is None else pool.closes_in_s for pool in self.pools], dtype=np.float64)
        self.reserved: dict[int, float] = {}  # row → seconds until the first reservation begins
        self._offers: dict[str, tuple[Ints, dict[str, Floats]]] = {}

    def __len__(self) -> int:
        return len(self.pools)

    def worked_out(self) -> Market:
        """The same, with everything computed that follows from the pools alone: copies of it need not do so again."""
        for name in FIXED:
            getattr(self, name)
        return self

    def over(self, snapshot: Snapshot) -> Market:
        """The columns of the same pools and the same offers under a snapshot that holds just these, and nothing promised."""
        again = copy(self)
        again.snapshot, again.reserved = snapshot, {}
        for name in ("carbon", "learned", "trusts", "unreserved"):
            again.__dict__.pop(name, None)
        return again

    def _column(self, name: str) -> Floats:
        return np.array([getattr(pool, name) for pool in self.pools], dtype=np.float64)

    @cached_property
    def regions(self) -> tuple[list[str], Ints]:
        """The regions that have pools, and each pool's place in that list."""
        return _codes([pool.region for pool in self.pools])

    @cached_property
    def providers(self) -> tuple[list[str], Ints]:
        """The providers that have pools, and each pool's place in that list."""
        return _codes([pool.provider for pool in self.pools])

    @cached_property
    def instruction_sets(self) -> tuple[list[str], Ints]:
        """The instruction sets, and each pool's place in that list."""
        return _codes([pool.instruction_set for pool in self.pools])

    @cached_property
    def sandboxed(self) -> Bools:
        """Can it run programs that nobody vouches for?"""
        return np.array([any(e != "process" for e in pool.executors) for pool in self.pools], dtype=bool)

    @cached_property
    def probation(self) -> Bools:
        """Does it take only work whose results are compared?"""
        return np.array([pool.probation for pool in self.pools], dtype=bool)

    @cached_property
    def unproven(self) -> Bools:
        """Is its word alone not enough, unless the task says that it is?"""
        return np.array([pool.unproven for pool in self.pools], dtype=bool)

    @cached_property
    def worth(self) -> Floats:
        """Up to which worth of a unit its word alone is enough."""
        return np.array([np.inf if pool.worth is None else pool.worth for pool in self.pools], dtype=np.float64)

    @cached_property
    def levels(self) -> Ints:
        return np.array([pool.level for pool in self.pools], dtype=np.int64)

    @cached_property
    def listed(self) -> list[int]:
        """Rows of the pools that have an allow or a deny list."""
        return [i for i, pool in enumerate(self.pools) if pool.allow or pool.deny]

    @cached_property
    def declared(self) -> dict[str, Floats]:
        """What each pool has, by resource; accelerators by model, 0 where there is none."""
        columns = {name: self._column(name) for name in ("cores", "memory_mib", "disk_mib")}
        for i, pool in enumerate(self.pools):
            for model, count in pool.accelerators:
                columns.setdefault(f"accelerator:{model}", np.zeros(len(self)))[i] += count
        return columns

    @cached_property
    def free(self) -> dict[str, Floats]:
        """What no live unit holds, by resource."""
        taken = {name: np.clip(self.shares, 0.0, 1.0) * column for name, column in self.declared.items()}
        for i, pool in enumerate(self.pools):
            if pool.held:
                for name, column in taken.items():
                    column[i] = dict(pool.held).get(name, 0.0)
        return {name: np.maximum(column - taken[name], 0.0) for name, column in self.declared.items()}

    @cached_property
    def turning(self) -> dict[str, Floats]:
        """What live units are expected to let go of within `TURN_S`, by resource: begun at any time, they end evenly.

        Of a pool of whose units nothing is known, all that is held, if the work ahead of it is over by then.
        """
        columns = {name: np.zeros(len(self)) for name in self.declared}
        for i, pool in enumerate(self.pools):
            if not pool.running and pool.backlog_s <= TURN_S:
                for name, column in columns.items():
                    column[i] = self.declared[name][i]
            for run_s, held in pool.running:
                for name, amount in held:
                    if name in columns:
                        columns[name][i] += amount * min(1.0, TURN_S / max(run_s, LEAST_S))
        return columns

    def reserve(self, row: int, seconds: float, need: dict[str, float]) -> None:
        """Promise part of a pool from so many seconds on: what is not over by then may take only the rest."""
        self.reserved[row] = min(seconds, self.reserved.get(row, seconds))
        for name, amount in need.items():
            if name in self.unreserved:
                self.unreserved[name][row] = max(self.unreserved[name][row] - amount, 0.0)

    @cached_property
    def unreserved(self) -> dict[str, Floats]:
        """What is free and promised to nobody."""
        return {name: column.copy() for name, column in self.free.items()}

    def forget_unreserved(self) -> None:
        """What is free has changed, and nothing is promised: it will be asked for again."""
        self.__dict__.pop("unreserved", None)

    def column(self, columns: dict[str, Floats], name: str) -> Floats:
        """One of the columns by resource; nothing where no pool has that resource."""
        return columns.get(name, np.zeros(len(self)))

    @cached_property
    def accelerated(self) -> Bools:
        """Has it accelerators that work without need of them would block?"""
        return np.array([bool(pool.accelerators) for pool in self.pools], dtype=bool)

    @cached_property
    def carbon(self) -> Floats:
        """Grams of CO2 per kilowatt-hour where the pool is."""
        known = self.snapshot.carbon
        return np.array([known.get(pool.region, DEFAULT_CARBON) for pool in self.pools], dtype=np.float64)

    def members(self, codes: tuple[list[str], Ints], wanted: Iterable[str]) -> Bools:
        """Rows whose code is one of those wanted."""
        names, column = codes
        wanted = set(wanted)
        return np.array([name in wanted for name in names], dtype=bool)[column] if names else np.zeros(0, dtype=bool)

    def offers(self, document: Mapping[str, Any]) -> tuple[Ints, dict[str, Floats]]:
        """What each pool asks for a need at its moment: the offer's id (-1 where there is none), unit prices by meter.

        Who has agreed on own prices with a provider pays those, and so is matched by those.
        """
        own = self.snapshot.own.get(own_prices(document), {})
        name = own_prices(document) if own else document["offers_at"]
        if name not in self._offers:
            if len(self._offers) >= MOMENTS:
                self._offers.clear()
            self._offers[name] = self._offers_at(document["offers_at"], own)
        return self._offers[name]

    def _offers_at(self, at: str, own: Mapping[int, Prices]) -> tuple[Ints, dict[str, Floats]]:
        found = [own.get(pool.id) or self.snapshot.offers.get((pool.id, at), _NOTHING) for pool in self.pools]
        ids = np.array([prices.offer_id for prices in found], dtype=np.int64)
        meters = dict.fromkeys(meter for prices in found for meter in prices.rates)
        rates = {
            meter: np.array([prices.rates.get(meter, 0.0) for prices in found], dtype=np.float64) for meter in meters
        }
        return ids, rates

    @cached_property
    def learned(self) -> dict[tuple[int, int, int], Learned]:
        """(version, stage, variant) → what finished attempts taught, pool by pool and over all pools."""
        found: dict[tuple[int, int, int], dict[int, Fit]] = {}
        everywhere: dict[tuple[int, int, int], Fit] = {}
        for (version, stage, variant, pool), fit in self.snapshot.pace.items():
            if pool == ANYWHERE:
                everywhere[version, stage, variant] = fit
            elif pool in self.row:
                found.setdefault((version, stage, variant), {})[self.row[pool]] = fit
        return {key: _learned(found.get(key, {}), everywhere.get(key)) for key in found.keys() | everywhere.keys()}

    @cached_property
    def trusts(self) -> dict[int, dict[int, float]]:
        """version → row of the pool → probability that a result is valid."""
        found: dict[int, dict[int, float]] = {}
        for (pool, version), value in self.snapshot.trust.items():
            if pool in self.row:
                found.setdefault(version, {})[self.row[pool]] = value
        return found


def _codes(values: list[str]) -> tuple[list[str], Ints]:
    names = sorted(set(values))
    place = {name: i for i, name in enumerate(names)}
    return names, np.array([place[value] for value in values], dtype=np.int64)


def column_of(values: dict[int, Any], size: int, default: float) -> Floats:
    """A column from sparse rows."""
    column = np.full(size, default, dtype=np.float64)
    for row, value in values.items():
        if row >= 0:
            column[row] = value
    return column
