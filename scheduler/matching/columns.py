"""One class over all pools, as columns: what fits, what it would take and cost there, term by term. Pure.

    finish  F = wait + slowest input + run + result's way back                                  seconds
    cost    C = price weight x (price + egress + scarcity) + hour x impatience x F / 3600
                + kilogram x carbon + risk x doubt x (price + the time of running again)        money
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from scheduler.matching.goals import Weights, impatience
from scheduler.matching.market import Bools, Floats, Ints, Market
from scheduler.matching.scalar import needs_of
from scheduler.matching.transfer import Way
from scheduler.matching.values import Arc, ClassState, PoolState

NEWCOMER: Final = 2 / 3  # trust of pools that nothing is known of: the mean of Beta(2, 1)


@dataclass
class Column:
    """One class over all pools. `fits` are the rows that can take it; `wait_s` is of a unit that comes next."""

    one: ClassState
    market: Market
    need: dict[str, float | Floats]  # a column of its own where the pools' variants need different amounts
    fits: Bools
    excluded: Counter[str]
    offer: Ints
    share: Floats
    room: Floats
    run_s: Floats
    run_p90_s: Floats
    transfer_s: Floats
    return_s: Floats
    wait_s: Floats
    price: Floats
    egress: Floats
    carbon_g: Floats
    trust: Floats
    scarcity: Floats
    weights: Weights
    ways: tuple[Way, Way]
    long: Bools
    kinds: Sequence[Mapping[str, Any]]  # the class's need as each of the variants that pools were held against
    variant: Ints  # of the manifest's variants the one that each pool would run

    @property
    def able(self) -> list[PoolState]:
        """The pools that fit."""
        return [self.market.pools[row] for row in np.flatnonzero(self.fits)]

    @property
    def typical(self) -> dict[str, float]:
        """The need of a unit where no pool is meant: that of the first variant."""
        return needs_of(self.one.document["need"])

    def need_at(self, row: int) -> dict[str, float]:
        """The need of a unit at one pool."""
        amounts = {name: float(n[row]) if isinstance(n, np.ndarray) else n for name, n in self.need.items()}
        return {name: amount for name, amount in amounts.items() if amount}

    @property
    def is_mixed(self) -> bool:
        """Do some pools run another variant than others, with another need?"""
        return any(isinstance(amount, np.ndarray) for amount in self.need.values())

    @property
    def hour(self) -> float:
        """What an hour of this class's waiting is worth, its age counted."""
        return self.weights.hour * impatience(self.one.age_s)

    @cached_property
    def believed(self) -> Bools:
        """Pools whose single result is believed of such a unit, by what it is worth.

        That is its price there, and no less than the median of all offers: who asks little makes no unit worth less.
        """
        asked = self.price[self.offer >= 0]
        usual = float(np.median(asked)) if asked.size else 0.0
        enough: Bools = np.maximum(self.price, usual) <= self.market.worth
        return ~self.market.unproven & enough

    @property
    def work_s(self) -> Floats:
        """From the start of the transfer to the result's arrival."""
        return self.transfer_s + self.run_s + self.return_s

    def cost(self, wait_s: Floats | float) -> Floats:
        """What a unit costs that starts after `wait_s`."""
        costs: Floats = self.cost_at_once + self.hour * wait_s / 3600
        return costs

    @cached_property
    def cost_at_once(self) -> Floats:
        """What a unit costs that starts at once. Kept: a round asks for it thousands of times."""
        w = self.weights
        money = w.price * (self.price + self.egress + self.scarcity)
        time = self.hour * self.work_s / 3600
        again = self.price + self.hour * self.run_s / 3600
        costs: Floats = money + time + w.kilogram * self.carbon_g / 1000 + w.risk * self.doubt * again
        return costs

    @property
    def doubt(self) -> Floats:
        """The probability that the work must be done again; newcomers have the benefit of the doubt."""
        doubts: Floats = np.maximum(1 - self.trust / NEWCOMER, 0.0)
        return doubts

    def ends_before(self, wait_s: Floats | float) -> Bools:
        """Pools where nine of ten units that start after `wait_s` are over before the pool closes."""
        ends: Bools = wait_s + self.transfer_s + self.run_p90_s <= self.market.closes
        return ends

    def best(self, most: int) -> Ints:
        """The rows of the cheapest pools that fit, cheapest first; ties in the market's order."""
        rows = np.flatnonzero(self.fits)
        order = np.argsort(self.cost(self.wait_s)[rows], kind="stable")
        return rows[order[:most]]

    def terms(self, row: int) -> dict[str, Any]:
        """Every term of one candidate, as the explanation shows it."""
        pool, w = self.market.pools[row], self.weights
        finish = float(self.wait_s[row] + self.work_s[row])
        again = float(self.price[row] + self.hour * self.run_s[row] / 3600)
        named = {
            "price": float(self.price[row]),
            "egress": float(self.egress[row]),
            "scarcity": float(self.scarcity[row]),
            "time_cost": self.hour * finish / 3600,
            "carbon_cost": w.kilogram * float(self.carbon_g[row]) / 1000,
            "risk_cost": w.risk * float(self.doubt[row]) * again,
            "cost": float(self.cost(self.wait_s)[row]),
        }
        seconds = {
            "wait_s": self.wait_s[row],
            "transfer_s": self.transfer_s[row],
            "run_s": self.run_s[row],
            "run_p90_s": self.run_p90_s[row],
            "return_s": self.return_s[row],
            "finish_s": finish,
        }
        shown: dict[str, Any] = {"pool": pool.identifier, "region": pool.region}
        if len(self.one.document["variants"]) > 1:
            shown["variant"] = int(self.variant[row])
        shown |= {name: round(value, 9) for name, value in named.items()}
        shown |= {name: round(float(value), 3) for name, value in seconds.items()}
        return shown | {"carbon_g": round(float(self.carbon_g[row]), 6), "trust": round(float(self.trust[row]), 6)}

    def arc(self, row: int) -> Arc:
        """One pair of class and pool as a value."""
        names = ("share", "run_s", "run_p90_s", "transfer_s", "return_s", "price", "egress", "carbon_g", "trust")
        values = {name: float(getattr(self, name)[row]) for name in names}
        return Arc(pool=self.market.pools[row], offer_id=int(self.offer[row]), terms=self.terms(row), **values)

    @cached_property
    def parts(self) -> Bools:
        """Pools with room for a part of a unit beyond the whole ones."""
        free = self.market.free
        exact = [_rooms(free[name], amount) for name, amount in self.need.items() if np.any(amount) and name in free]
        parts: Bools = np.minimum.reduce(exact) > self.room + 1e-6
        return parts

    def over_links(self) -> dict[int, Floats]:
        """Link → bytes of one unit over it, by pool, on the ways to and from the pool."""
        regions, column_ = self.market.regions
        total: dict[int, Floats] = {}
        for way in self.ways:
            for place, region in enumerate(regions):
                for link, size in way.links.get(region, {}).items():
                    most = self.market.snapshot.carries.get(link, size)
                    total.setdefault(link, np.zeros(len(self.market)))[column_ == place] += min(size, most)
        return total


def room_of(need: Mapping[str, float | Floats], columns: Mapping[str, Floats], size: int) -> Floats:
    """How many units of a need some columns of resources have room for, at every pool."""
    rooms = [_rooms(columns[name], amount) for name, amount in need.items() if np.any(amount) and name in columns]
    return np.floor(np.minimum.reduce(rooms) + 1e-9) if rooms else np.full(size, np.inf)


def _rooms(column: Floats, amount: float | Floats) -> Floats:
    if not isinstance(amount, np.ndarray):
        return column / amount
    rooms: Floats = np.divide(column, amount, out=np.full(len(column), np.inf), where=amount > 0)
    return rooms
