"""A class against all pools: how long a unit would take at each and what it would cost, and who is left out. Pure.

Every number here is a column over the market's pools (`market.py`); `scalar.py` says what they mean for one pool, `columns.py`
what they cost together, `fits.py` which pools can take it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from scheduler.matching.columns import NEWCOMER, Column, room_of
from scheduler.matching.fits import FITS, leave_out, reasons_of
from scheduler.matching.goals import weights_of
from scheduler.matching.market import Bools, Floats, Ints, Market, column_of
from scheduler.matching.scalar import MIN_RUN_S, UNKNOWN_RUN_S, needs_of, quantities_of
from scheduler.matching.transfer import Way, way_in, way_out
from scheduler.matching.values import ClassState
from scheduler.needs import of_variant
from scheduler.pace import Fits, expected_and_p90

SCARCITY: Final = 0.05  # of the price: what blocks accelerators without using them had better go elsewhere


def column(one: ClassState, market: Market) -> Column:
    """A class over all pools: at each pool the cheapest of the variants that it could run, the first of equals."""
    doc = one.document
    ways = way_in(doc, market), way_out(doc, market)
    offered = market.offers(doc)
    variants = doc["variants"] if any("need" in variant for variant in doc["variants"]) else doc["variants"][:1]
    kinds = [doc] if len(variants) == 1 else [{**of_variant(doc, n), "variants": [v]} for n, v in enumerate(variants)]
    columns = [_column(one, kind, market, ways, offered) for kind in kinds]
    reasons = [reasons_of(one) for one in columns]
    found, reason = (columns[0], reasons[0]) if len(kinds) == 1 else _choose(columns, reasons)
    if len(kinds) == 1 and len(doc["variants"]) > 1:
        found.variant = _first_that_runs(doc["variants"], market)
    leave_out(found, reason)
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
