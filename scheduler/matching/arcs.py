"""A class against all pools: which fit, how long a unit would take there and what it would cost, term by term. Pure.

Every number here is a column over the market's pools (`market.py`); `scalar.py` says what they mean for one pool.

    finish  F = wait + slowest input + run + result's way back                                  seconds
    cost    C = price weight x (price + egress + scarcity) + hour x impatience x F / 3600
                + kilogram x carbon + risk x doubt x (price + the time of running again)        money
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from scheduler.matching.goals import Weights, impatience, weights_of
from scheduler.matching.market import Bools, Floats, Ints, Market, column_of
from scheduler.matching.scalar import MIN_RUN_S, UNKNOWN_RUN_S, needs_of, quantities_of
from scheduler.matching.transfer import Way, way_in, way_out
from scheduler.matching.values import DIMENSIONS, Arc, ClassState
from scheduler.needs import of_variant
from scheduler.pace import Fits, expected_and_p90

ROUNDING: Final = 1e-12  # caps have twelve decimals: a price that equals its cap must not fail by a float's last bit
SCARCITY: Final = 0.05  # of the price: what blocks accelerators without using them had better go elsewhere
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

    @property
    def work_s(self) -> Floats:
        """From the start of the transfer to the result's arrival."""
        return self.transfer_s + self.run_s + self.return_s

    def cost(self, wait_s: Floats | float) -> Floats:
        """What a unit costs that starts after `wait_s`."""
        w = self.weights
        money = w.price * (self.price + self.egress + self.scarcity)
        time = self.hour * (wait_s + self.work_s) / 3600
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


def column(one: ClassState, market: Market) -> Column:
    """A class over all pools: at each pool the cheapest of the variants that it could run, the first of equals."""
    doc = one.document
    ways = way_in(doc, market), way_out(doc, market)
    offered = market.offers(doc["offers_at"])
    variants = doc["variants"] if any("need" in variant for variant in doc["variants"]) else doc["variants"][:1]
    kinds = [doc] if len(variants) == 1 else [{**of_variant(doc, n), "variants": [v]} for n, v in enumerate(variants)]
    columns = [_column(one, kind, market, ways, offered) for kind in kinds]
    reasons = [_reasons(one) for one in columns]
    found, reason = (columns[0], reasons[0]) if len(kinds) == 1 else _choose(columns, reasons)
    if len(kinds) == 1 and len(doc["variants"]) > 1:
        found.variant = _first_that_runs(doc["variants"], market)
    _leave_out(found, reason)
    return found


def _first_that_runs(variants: Sequence[Mapping[str, Any]], market: Market) -> Ints:
    """For variants that only differ in their instruction set: the first that each pool's machines understand."""
    chosen = np.zeros(len(market), dtype=np.int64)
    for number in reversed(range(len(variants))):
        name = variants[number]["instruction_set"]
        runs = np.ones(len(market), dtype=bool) if name == "any" else market.members(market.instruction_sets, {name})
        chosen[runs] = number
    return chosen


def _choose(columns: Sequence[Column], reasons: Sequence[Ints]) -> tuple[Column, Ints]:
    """One column out of those of the variants. Where none fits, the one that came furthest in the precedence says why not."""
    costs = np.array([np.where(reason == FITS, one.cost(one.wait_s), np.inf) for one, reason in zip(columns, reasons, strict=True)])
    told = np.array(reasons)
    chosen = np.where((told == FITS).any(axis=0), np.argmin(costs, axis=0), np.argmax(told, axis=0))
    rows = np.arange(len(chosen))
    size = len(chosen)
    names = sorted({name for one in columns for name in one.need})
    needs = {name: np.array([np.broadcast_to(one.need.get(name, 0.0), size) for one in columns]) for name in names}
    picked = {name: np.array([getattr(one, name) for one in columns])[chosen, rows] for name in _BY_VARIANT}
    need = {name: _alike(table) if size and np.ptp(table) == 0 else table[chosen, rows] for name, table in needs.items()}
    kinds = [one.kinds[0] for one in columns]
    return replace(columns[0], need=need, kinds=kinds, variant=chosen, **picked), told[chosen, rows]


def _alike(table: Floats) -> float:
    return float(table[0, 0])


_BY_VARIANT: Final = ("share", "room", "run_s", "run_p90_s", "wait_s", "price", "carbon_g", "scarcity", "long")


def _column(
    one: ClassState, doc: Mapping[str, Any], market: Market, ways: tuple[Way, Way], offered: tuple[Ints, dict[str, Floats]]
) -> Column:
    """A class over all pools, as one variant: `doc` is its need with that variant's values."""
    need = needs_of(doc["need"])
    run_s, p90 = _run_seconds(doc, market)
    offer, rates = offered
    price = _price(doc, rates, run_s, ways[0].moved)
    long = _long(ways[0].seconds + p90, market)
    room, share = _room(need, market, long), _share(need, market)
    accelerated = market.accelerated & (not any(name.startswith("accelerator") for name in need))
    return Column(
        one=one,
        market=market,
        need=dict(need),
        fits=np.zeros(len(market), dtype=bool),
        excluded=Counter(),
        offer=offer,
        share=share,
        room=room,
        run_s=run_s,
        run_p90_s=p90,
        transfer_s=ways[0].seconds,
        return_s=ways[1].seconds,
        wait_s=np.where(room >= 1, 0.0, market.backlog),
        price=price,
        egress=ways[0].price + ways[1].price,
        carbon_g=_carbon(doc, run_s, market) + ways[0].carbon_g + ways[1].carbon_g,
        trust=column_of(market.trusts.get(doc["version"], {}), len(market), NEWCOMER),
        scarcity=np.where(accelerated, SCARCITY * price, 0.0),
        weights=weights_of(one.document),
        ways=ways,
        long=long,
        kinds=[doc],
        variant=np.zeros(len(market), dtype=np.int64),
    )


def _long(work_s: Floats, market: Market) -> Bools:
    """Where a unit would not be over before a reservation begins."""
    long = np.zeros(len(market), dtype=bool)
    for row, seconds in market.reserved.items():
        long[row] = work_s[row] > seconds
    return long


def room_of(need: Mapping[str, float | Floats], columns: Mapping[str, Floats], size: int) -> Floats:
    """How many units of a need some columns of resources have room for, at every pool."""
    rooms = [_rooms(columns[name], amount) for name, amount in need.items() if np.any(amount) and name in columns]
    return np.floor(np.minimum.reduce(rooms) + 1e-9) if rooms else np.full(size, np.inf)


def _rooms(column: Floats, amount: float | Floats) -> Floats:
    if not isinstance(amount, np.ndarray):
        return column / amount
    rooms: Floats = np.divide(column, amount, out=np.full(len(column), np.inf), where=amount > 0)
    return rooms


def _room(need: Mapping[str, float], market: Market, long: Bools) -> Floats:
    """How many units could start at once; around a reservation, those that outlast its begin find less room."""
    room = room_of(need, market.free, len(market))
    return np.where(long, room_of(need, market.unreserved, len(market)), room) if long.any() else room


def _share(need: Mapping[str, float], market: Market) -> Floats:
    columns = [amount / np.maximum(market.declared[name], 1) for name, amount in need.items() if name in market.declared]
    shares: Floats = np.maximum(np.maximum.reduce(columns), 1e-6)
    return shares


def _run_seconds(doc: Mapping[str, Any], market: Market) -> tuple[Floats, Floats]:
    """Expected seconds, and those that nine of ten units do not exceed."""
    tflop = float(doc["tflop"])
    speed = market.speed * doc["need"]["cores"]
    slope = np.divide(1.0, speed, out=np.zeros(len(market)), where=speed > 0)
    learned = market.learned.get((doc["version"], doc["stage"], doc.get("variant", 0)))
    if learned is None or learned.anywhere is None:
        run = tflop * slope
        run[run == 0] = UNKNOWN_RUN_S
        p90 = run * UNSEEN
    else:
        run, p90 = expected_and_p90(Fits.same(learned.anywhere, len(market)), tflop, slope)
        p90 = np.maximum(p90, run * ELSEWHERE)
    if learned is not None and len(learned.rows):
        run[learned.rows], p90[learned.rows] = expected_and_p90(learned.fits, tflop, slope[learned.rows])
    most = float(doc["run_s"])
    return np.clip(run, MIN_RUN_S, most), np.clip(p90, MIN_RUN_S, most)


UNSEEN: Final = 2.0  # P90 over the expected time, when only the manifest's model speaks
ELSEWHERE: Final = 1.5  # and at least, when units were seen, but on other pools


def _price(doc: Mapping[str, Any], rates: Mapping[str, Floats], run_s: Floats, moved: Floats) -> Floats:
    # quantities are of one second; only what lasts is multiplied by the run time; what a pool has already is not moved
    lasting, once = ("core_second", "occupancy_second", "accelerator_second"), ("fp32_tflop", "gb_moved", "result")
    amounts: dict[str, Any] = quantities_of(doc, 1.0) | {"gb_moved": moved / 1e9}
    total = np.zeros(len(moved))
    for meter, prices in rates.items():
        if meter in lasting:
            total += prices * amounts[meter] * run_s
        elif meter in once:
            total += prices * amounts[meter]
    return total


def _carbon(doc: Mapping[str, Any], run_s: Floats, market: Market) -> Floats:
    """Grams of CO2 of the run: busy cores x watts x seconds, by the region's grid."""
    grams: Floats = run_s * doc["need"]["cores"] * market.watts / 3.6e6 * market.carbon
    return grams


FITS: Final = len(DIMENSIONS)  # among the numbers of dimensions: none speaks against it


def _reasons(found: Column) -> Ints:
    """For every pool the number of the first dimension, in the fixed precedence, that speaks against it."""
    reasons = np.full(len(found.market), FITS, dtype=np.int64)
    for dimension, fits in checks(found):
        reasons[(reasons == FITS) & ~fits] = DIMENSIONS.index(dimension)
    return reasons


def _leave_out(found: Column, reasons: Ints) -> None:
    """Every pool fits or is counted for what speaks against it."""
    for number in np.unique(reasons[reasons != FITS]):
        found.excluded[DIMENSIONS[number]] += int((reasons == number).sum())
    open_rows = reasons == FITS
    fresh = open_rows.copy()
    fresh[[found.market.row[pool] for pool in found.one.avoid if pool in found.market.row]] = False
    # pools that failed these units before are left out only while another could take them
    if fresh.any() and (gone := int(open_rows.sum() - fresh.sum())):
        found.excluded["failed_before"] += gone
        open_rows = fresh
    found.fits = open_rows


def checks(found: Column) -> list[tuple[str, Bools]]:
    """The dimensions in their order, each with the pools that pass it, as the variant that they would run."""
    tables = [_checks(found, kind) for kind in found.kinds]
    if len(tables) == 1:
        return tables[0]
    rows = np.arange(len(found.market))
    passed = [np.array([table[n][1] for table in tables])[found.variant, rows] for n in range(len(tables[0]))]
    return [(dimension, fits) for (dimension, _), fits in zip(tables[0], passed, strict=True)]


def _checks(found: Column, doc: Mapping[str, Any]) -> list[tuple[str, Bools]]:
    """The same for one variant: `doc` is the class's need with that variant's values."""
    m, everywhere = found.market, np.ones(len(found.market), dtype=bool)
    need = doc["need"]
    sets = {v["instruction_set"] for v in doc["variants"]}
    listed = {
        "architecture": everywhere if "any" in sets else m.members(m.instruction_sets, sets),
        "accelerator": _accelerators_fit(need, m),
        "cores": m.declared["cores"] >= need["cores"],
        "memory": m.declared["memory_mib"] >= need["memory_mib"],
        "disk": m.declared["disk_mib"] >= need["disk_mib"],
        "gang": _gang_fits(found, m) if doc.get("gang") else everywhere,
        "region": m.members(m.regions, doc["regions"]) if doc["regions"] else everywhere,
        "provider": _providers_fit(doc, m),
        "policy": _policies_fit(doc["organization"], m),
        "trust": _trust_fits(found),
        "network": _network_fits(doc, m),
        "offer": found.offer >= 0,
        "price": _price_fits(doc, found.price + found.egress),
        "deadline": _deadline_fits(doc, found),
        "maintenance": found.ends_before(found.wait_s),
        "distinct_owner": _apart_fits(found),
        "reserved": ~found.long | (found.room >= 1),
    }
    return [(dimension, listed[dimension]) for dimension in DIMENSIONS if dimension in listed]


def _accelerators_fit(need: Mapping[str, Any], market: Market) -> Bools:
    fits = np.ones(len(market), dtype=bool)
    for wanted in need.get("accelerators", []):
        fits &= market.declared.get(f"accelerator:{wanted['model']}", np.zeros(len(market))) >= wanted["count"]
    return fits


def _gang_fits(found: Column, market: Market) -> Bools:
    """Pools that could run all of a gang at once when they are empty."""
    fits, size = np.ones(len(market), dtype=bool), min(int(found.one.document["gang"]), max(found.one.waiting, 1))
    for name, amount in found.need.items():
        fits &= market.declared.get(name, np.zeros(len(market))) >= amount * size
    return fits


def _providers_fit(doc: Mapping[str, Any], market: Market) -> Bools:
    fits = ~market.members(market.providers, doc["exclude_providers"])
    return fits & market.members(market.providers, doc["providers"]) if doc["providers"] else fits


def _policies_fit(organization: str, market: Market) -> Bools:
    fits = np.ones(len(market), dtype=bool)
    for row in market.listed:
        pool = market.pools[row]
        fits[row] = (not pool.allow or organization in pool.allow) and organization not in pool.deny
    return fits


def _trust_fits(found: Column) -> Bools:
    """Sandboxed unless an operator vouches for the program; as trusted as asked for; not on probation unless it is checked.

    Unproven pools, too, take only what is checked, or what somebody said may be believed from one of them alone.
    """
    m, doc = found.market, found.one.document
    fits: Bools = (found.trust >= float(doc.get("min_trust", 0))) & (m.levels >= int(doc.get("min_level", 0)))
    if not doc["trusted"]:
        fits &= m.sandboxed
    if not doc.get("verified"):
        fits &= ~m.probation
        fits &= ~m.unproven | bool(doc.get("accept_unproven"))
    return fits


def _apart_fits(found: Column) -> Bools:
    fits = np.ones(len(found.market), dtype=bool)
    fits[[found.market.row[pool] for pool in found.one.apart if pool in found.market.row]] = False
    return fits


def _network_fits(doc: Mapping[str, Any], market: Market) -> Bools:
    """Regions that a class of jitter reaches from where the user is; the user's own region always does."""
    wanted = doc.get("network")
    if not wanted:
        return np.ones(len(market), dtype=bool)
    regions, column_ = market.regions
    routes, home, most = market.snapshot.steady, wanted["from"], float(wanted.get("max_latency_s", float("inf")))
    reached = []
    for region in regions:
        route = routes.get((home, region, int(wanted["jitter_class"])))
        reached.append(region == home or (route is not None and route.latency_s <= most))
    return np.array(reached, dtype=bool)[column_] if reached else np.zeros(0, dtype=bool)


def _price_fits(doc: Mapping[str, Any], price: Floats) -> Bools:
    if doc["cap"] is None:
        return np.ones(len(price), dtype=bool)
    fits: Bools = price + float(doc["fee"]) <= float(doc["cap"]) + ROUNDING
    return fits


def _deadline_fits(doc: Mapping[str, Any], found: Column) -> Bools:
    """Pools on which nine of ten units that come next are over in time."""
    if doc.get("deadline") is None:
        return np.ones(len(found.market), dtype=bool)
    finish = found.wait_s + found.transfer_s + found.run_p90_s + found.return_s
    fits: Bools = found.market.snapshot.at + finish <= float(doc["deadline"])
    return fits

