"""What a task would cost and how long it would take, before anybody commits to it. Pure.

The same water filling that values waiting (`waiting.py`) spreads the whole class over the market as it stands: so an estimate
counts the queues that are there and the ones the task itself would make.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from scheduler.matching.arcs import column
from scheduler.matching.columns import Column
from scheduler.matching.market import Floats, Ints, Market
from scheduler.matching.values import ClassState, Snapshot
from scheduler.matching.waiting import spread


@dataclass(frozen=True, slots=True)
class Estimate:
    """price: in the currency, the publisher's fee not counted. Seconds from now until the last unit is over: expected, and P90.

    start_s  until the first unit starts    pools  (identifier, region, units), most units first
    """

    price: Decimal
    seconds: float
    seconds_p90: float
    start_s: float
    carbon_g: float
    pools: tuple[tuple[str, str, int], ...]


def estimate(one: ClassState, units: int, snapshot: Snapshot) -> Estimate | None:
    """The estimate of a class of so many units; None where no pool fits."""
    found = column(replace(one, waiting=units), Market(snapshot))
    if not found.fits.any():
        return None
    rows, shares = spread(found, found.wait_s)
    counts = whole_parts(shares, units)
    used, counts = rows[counts > 0], counts[counts > 0]
    price = sum((Decimal(str(found.price[row])) * int(n) for row, n in zip(used, counts, strict=True)), Decimal(0))
    pools = [found.market.pools[row] for row in used]
    listed = [(pool.identifier, pool.region, int(n)) for pool, n in zip(pools, counts, strict=True)]
    return Estimate(
        price=price,
        seconds=_finish(found, used, counts, found.run_s),
        seconds_p90=_finish(found, used, counts, found.run_p90_s),
        start_s=float(found.wait_s[used].min()),
        carbon_g=float(found.carbon_g[used] @ counts),
        pools=tuple(sorted(listed, key=lambda one: (-one[2], one[0]))),
    )


def price_p90(found: Column, units: int) -> Decimal:
    """The price that nine of ten such classes do not pass, the publisher's fee not counted; some pool fits.

    As `estimate`, with the whole price grown by as much as the run time is at its P90: a little too much where a part of it
    does not grow with time (moved bytes, results).
    """
    found = replace(found, one=replace(found.one, waiting=units))
    rows, shares = spread(found, found.wait_s)
    counts = whole_parts(shares, units)
    prices = found.price[rows] * np.maximum(found.run_p90_s[rows] / found.run_s[rows], 1.0)
    return sum((Decimal(str(price)) * int(n) for price, n in zip(prices, counts, strict=True) if n > 0), Decimal(0))


def _finish(found: Column, rows: Ints, counts: Ints, run_s: Floats) -> float:
    waves = np.maximum(counts * found.share[rows], 1.0)
    return float((found.wait_s[rows] + found.transfer_s[rows] + waves * run_s[rows] + found.return_s[rows]).max())


def whole_parts(shares: Floats, units: int) -> Ints:
    """Whole numbers that add up to `units`, as near to the shares as can be (largest remainder; ties to the first)."""
    floors = np.floor(shares).astype(np.int64)
    order = np.argsort(-(shares - floors), kind="stable")
    floors[order[: units - int(floors.sum())]] += 1
    return floors
