"""Matching: which pools get how many units of each class. Pure: values in, values out, no clock, no database.

For each class and pool: leave out what is infeasible and say by which dimension; otherwise estimate the finish time
and the cost, every term in money; then fill the cheapest pools wave by wave, each wave of a pool waiting longer than
the one before; units wait for a full pool as long as that is cheaper than going elsewhere. Ties go to the pool with the
smaller identifier. The same snapshot always gives the same plan.

Load is counted in shares: a unit's share of a pool is its dominant need (the largest of need / declared over cores,
memory, disk, accelerators), so that sum of shares <= 1 means that all of them run at once.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.pace import ANYWHERE, Fit, Key

# Fixed precedence: a pool left out counts for the first dimension that speaks against it.
DIMENSIONS: Final = (
    "architecture",
    "accelerator",
    "cores",
    "memory",
    "disk",
    "region",
    "provider",
    "policy",
    "trust",
    "offer",
    "price",
    "deadline",
    "distinct_owner",
    "failed_before",
)
HORIZON_S: Final = 2.0  # a pool is given up to this much work ahead, so that short units never starve it
MIN_SHARES: Final = 2.0  # and always one wave more than it can run
MIN_RUN_S: Final = 0.001
MAX_WAVES: Final = 2_000
# CNY per hour that a unit's waiting is worth, by objective: what trades price against time. A core-hour costs about
# 0.1 CNY, so who asks for the cheapest waits ten times a unit's length before paying twice the price.
VALUE_OF_HOUR: Final = {"cheapest": 0.01, "fastest": 100.0}
UNKNOWN_RUN_S: Final = 1.0
ROUNDING: Final = 1e-12  # caps have twelve decimals: a price that equals its cap must not fail by a float's last bit


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool as the matcher sees it. `backlog_s` is work ahead in seconds of the whole pool; `shares` its load now."""

    id: int
    identifier: str
    region: str
    provider: str
    instruction_set: str
    cores: int
    memory_mib: int
    disk_mib: int
    accelerators: tuple[tuple[str, int], ...]
    executors: tuple[str, ...]
    mflops: int
    bandwidth_mbps: int
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    shares: float = 0.0
    backlog_s: float = 0.0
    probation: bool = False  # its results were wrong: it takes only what is checked


@dataclass(frozen=True, slots=True)
class ClassState:
    """Waiting units of one need. `document` as in needs.py; `avoid` are pools that failed them.

    `apart` are pools that must never take them: their owners hold a sibling, or have had their say.
    """

    need_id: int
    document: Mapping[str, Any]
    waiting: int
    avoid: tuple[int, ...] = ()
    apart: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Prices:
    """Unit prices of one offer, and the estimates that do not come from the pool itself."""

    offer_id: int
    rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a round looks at. `offers[(pool, offers_at)]`, `pace[(version, stage, pool)]` is what units took."""

    classes: Sequence[ClassState]
    pools: Sequence[PoolState]
    offers: Mapping[tuple[int, str], Prices]
    pace: Mapping[Key, Fit] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arc:
    """A feasible class x pool pair: seconds, money, and what the unit would hold."""

    pool: PoolState
    offer_id: int
    share: float
    run_s: float
    transfer_s: float
    price: float


@dataclass(frozen=True, slots=True)
class Placement:
    need_id: int
    avoid: tuple[int, ...]
    pool_id: int
    offer_id: int
    units: int
    apart: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassDecision:
    """How one class fared: where it went, the best candidates with their terms, who was left out and why."""

    need_id: int
    avoid: tuple[int, ...]
    placements: tuple[Placement, ...]
    candidates: tuple[dict[str, Any], ...]
    excluded: Mapping[str, int]


def decide(snapshot: Snapshot) -> list[ClassDecision]:
    """One round. Classes are served in the order given (the caller sorts by age)."""
    shares = {pool.id: pool.shares for pool in snapshot.pools}
    backlog = {pool.id: pool.backlog_s for pool in snapshot.pools}
    return [_place_class(one, snapshot, shares, backlog) for one in snapshot.classes]


def _place_class(one: ClassState, snapshot: Snapshot, shares: dict[int, float], backlog: dict[int, float]) -> ClassDecision:
    arcs, excluded = feasible_arcs(one, snapshot)
    candidates = tuple(sorted((terms_of(one, arc, backlog[arc.pool.id]) for arc in arcs), key=_by_cost)[:5])
    counts = _fill(one, arcs, shares, backlog)
    offers = {arc.pool.id: arc.offer_id for arc in arcs}
    placements = tuple(
        Placement(one.need_id, one.avoid, pool_id, offers[pool_id], units, one.apart) for pool_id, units in counts.items()
    )
    return ClassDecision(one.need_id, one.avoid, placements, candidates, dict(excluded))


def _by_cost(terms: dict[str, Any]) -> tuple[float, str]:
    return terms["cost"], terms["pool"]


def _fill(one: ClassState, arcs: list[Arc], shares: dict[int, float], backlog: dict[int, float]) -> dict[int, int]:
    """Fill pools wave by wave, cheapest next wave first; updates `shares` and `backlog`.

    Where the cheapest is full, units wait for it: they are counted as its backlog, not placed, and so go elsewhere
    only when waiting costs more than the dearer pool. Each time twice as many wait, which keeps the loop short.
    """
    left, placed, queued = one.waiting, Counter[int](), Counter[int]()
    queue = [(_wave_cost(one, arc, backlog[arc.pool.id]), arc.pool.identifier, i) for i, arc in enumerate(arcs)]
    heapq.heapify(queue)
    while left and queue:
        _, identifier, index = heapq.heappop(queue)
        arc, pool = arcs[index], arcs[index].pool.id
        units = min(left, _wave(arc), _room(arc, shares[pool]))
        if units > 0:
            placed[pool] += units
            shares[pool] += units * arc.share
        else:
            units = min(left, max(_wave(arc), queued[pool]))
            queued[pool] += units
        left -= units
        backlog[pool] += units * arc.share * arc.run_s
        heapq.heappush(queue, (_wave_cost(one, arc, backlog[pool]), identifier, index))
    return dict(placed)


def _wave(arc: Arc) -> int:
    """Units that run at once on an empty pool; larger waves for tiny units keep the loop short."""
    slots = max(1, int(1 / arc.share))
    return slots * max(1, int(HORIZON_S / arc.run_s / 50))


def _room(arc: Arc, shares: float) -> int:
    limit = min(max(MIN_SHARES, HORIZON_S / arc.run_s), MAX_WAVES)
    return int((limit - shares) / arc.share + 1e-9)


def _wave_cost(one: ClassState, arc: Arc, backlog_s: float) -> float:
    return arc.price + _hour(one) * (backlog_s + arc.transfer_s + arc.run_s) / 3600


def _hour(one: ClassState) -> float:
    return VALUE_OF_HOUR.get(one.document["objective"], VALUE_OF_HOUR["cheapest"])


def terms_of(one: ClassState, arc: Arc, backlog_s: float) -> dict[str, Any]:
    """Every term of a candidate: seconds and money (CNY), as the explanation shows them."""
    finish = backlog_s + arc.transfer_s + arc.run_s
    time_cost = _hour(one) * finish / 3600
    return {
        "pool": arc.pool.identifier,
        "region": arc.pool.region,
        "price": round(arc.price, 9),
        "wait_s": round(backlog_s, 3),
        "transfer_s": round(arc.transfer_s, 3),
        "run_s": round(arc.run_s, 3),
        "finish_s": round(finish, 3),
        "time_cost": round(time_cost, 9),
        "cost": round(arc.price + time_cost, 9),
    }


def feasible_arcs(one: ClassState, snapshot: Snapshot) -> tuple[list[Arc], Counter[str]]:
    """The arcs of a class, and the pools left out counted by dimension.

    Every pool is in one of the two. Pools that failed these units before are left out only while another could take them.
    """
    arcs: list[Arc] = []
    excluded: Counter[str] = Counter()
    for pool in snapshot.pools:
        arc, dimension = _arc(one, pool, snapshot)
        if arc is None:
            excluded[dimension] += 1
        else:
            arcs.append(arc)
    fresh = [arc for arc in arcs if arc.pool.id not in one.avoid]
    if not fresh or len(fresh) == len(arcs):
        return arcs, excluded
    excluded["failed_before"] += len(arcs) - len(fresh)
    return fresh, excluded


def _arc(one: ClassState, pool: PoolState, snapshot: Snapshot) -> tuple[Arc | None, str]:
    doc = one.document
    dimension = static_misfit(doc, pool)
    if dimension:
        return None, dimension
    prices = snapshot.offers.get((pool.id, doc["offers_at"]))
    if prices is None:
        return None, "offer"
    run_s = run_seconds(doc, pool, snapshot.pace)
    price = unit_price(doc, prices.rates, run_s)
    if doc["cap"] is not None and price + float(doc["fee"]) > float(doc["cap"]) + ROUNDING:
        return None, "price"
    if pool.id in one.apart:
        return None, "distinct_owner"
    transfer_s = doc["bytes_in"] * 8 / (max(pool.bandwidth_mbps, 1) * 1e6)
    share = dominant_share(doc["need"], pool)
    return Arc(pool, prices.offer_id, share, run_s, transfer_s, price), ""


def static_misfit(doc: Mapping[str, Any], pool: PoolState) -> str:
    """The first dimension, in the fixed precedence, that speaks against the pool; "" if none does."""
    need, provider = doc["need"], pool.provider
    declared = dict(pool.accelerators)
    checks = (
        ("architecture", any(v["instruction_set"] in ("any", pool.instruction_set) for v in doc["variants"])),
        ("accelerator", all(declared.get(a["model"], 0) >= a["count"] for a in need.get("accelerators", []))),
        ("cores", need["cores"] <= pool.cores),
        ("memory", need["memory_mib"] <= pool.memory_mib),
        ("disk", need["disk_mib"] <= pool.disk_mib),
        ("region", not doc["regions"] or pool.region in doc["regions"]),
        ("provider", not doc["providers"] or provider in doc["providers"]),
        ("provider", provider not in doc["exclude_providers"]),
        ("policy", not pool.allow or doc["organization"] in pool.allow),
        ("policy", doc["organization"] not in pool.deny),
        ("trust", doc["trusted"] or any(e != "process" for e in pool.executors)),
        ("trust", not pool.probation or bool(doc.get("verified"))),
    )
    return next((dimension for dimension, fits in checks if not fits), "")


def run_seconds(doc: Mapping[str, Any], pool: PoolState, pace: Mapping[Key, Fit]) -> float:
    """Expected seconds of one unit: as it took here before, else anywhere, else its FP32 work over the pool's speed."""
    tflop = float(doc["tflop"])
    speed = pool.mflops / 1e6 * doc["need"]["cores"] / max(pool.cores, 1)
    slope = 1 / speed if speed > 0 else 0.0
    seen = pace.get((doc["version"], doc["stage"], pool.id)) or pace.get((doc["version"], doc["stage"], ANYWHERE))
    run_s = seen.at(tflop, slope) if seen is not None else tflop * slope or UNKNOWN_RUN_S
    return min(max(run_s, MIN_RUN_S), float(doc["run_s"]))


def unit_price(doc: Mapping[str, Any], rates: Mapping[str, float], run_s: float) -> float:
    """Expected price of one unit in the offer's currency: the estimate that quotes and matching use.

    What is paid in the end follows from the usage record (billing/pricing.py), in exact decimals.
    """
    need = doc["need"]
    devices = sum(a["count"] for a in need.get("accelerators", []))
    quantities = {
        "core_second": run_s * need["cores"],
        "occupancy_second": run_s * need["cores"],
        "accelerator_second": run_s * devices,
        "fp32_tflop": float(doc["tflop"]),
        "gb_moved": doc["bytes_in"] / 1e9,
        "result": 1.0,
    }
    return math.fsum(price * quantities.get(meter, 0.0) for meter, price in rates.items())


def dominant_share(need: Mapping[str, Any], pool: PoolState) -> float:
    """The largest part of the pool that one unit takes, over all dimensions (0 < share <= 1)."""
    declared = dict(pool.accelerators)
    shares: list[float] = [
        need["cores"] / pool.cores,
        need["memory_mib"] / max(pool.memory_mib, 1),
        need["disk_mib"] / max(pool.disk_mib, 1),
        *(a["count"] / declared[a["model"]] for a in need.get("accelerators", [])),
    ]
    return max(*shares, 1e-6)
