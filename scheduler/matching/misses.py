"""Near misses: pools that are left out, and the smallest change of a task that would let each of them in. Pure.

A pool may fail in several dimensions at once; a change counts only if it mends all of them. Changes are of what the user
said (regions, providers, price cap, deadline, trust floor, network class); what the capability needs, or the other side
refuses, no user can change: such pools are named last, with what they lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Any, Final

from marketplace.stages import VALIDATES
from scheduler.matching.arcs import column
from scheduler.matching.columns import Column
from scheduler.matching.fits import checks
from scheduler.matching.market import Market
from scheduler.matching.values import ClassState, Snapshot
from scheduler.network.values import Route

SHOWN: Final = 3
MARGIN_S: Final = 60.0
FADES: Final = Decimal("0.00005")  # of an expected trust, in fifteen minutes at most: its half-life is 14 days
AGES: Final = 1.08  # what is known of a way widens with its age: this much in five minutes at most
WORST: Final = 3  # class of jitter: best effort


@dataclass(frozen=True, slots=True)
class Miss:
    """A pool left out.

    lacks   the dimensions that speak against it, in their order
    change  {field of the task: new value} that would let it in; None when no change of the task would
    size    how large the change is: dimensions, then the relative part of amounts
    """

    pool: str
    region: str
    lacks: tuple[str, ...]
    change: Mapping[str, Any] | None
    size: float


def nearest(one: ClassState, snapshot: Snapshot, most: int = SHOWN) -> list[Miss]:
    """The pools that the smallest changes would let in, the nearest first."""
    found = column(one, Market(snapshot))
    failing = [(name, ~fits) for name, fits in checks(found)]
    missed = []
    for row in range(len(found.market)):
        lacks = tuple(name for name, fails in failing if fails[row])
        if lacks:
            missed.append(_miss(found, row, lacks))
    return sorted(missed, key=lambda miss: (miss.change is None, miss.size, miss.pool))[:most]


def _miss(found: Column, row: int, lacks: tuple[str, ...]) -> Miss:
    pool = found.market.pools[row]
    change: dict[str, Any] | None = {}
    size = float(len(lacks))
    for name in lacks:
        mended = _MENDED[name](found, row) if name in _MENDED else None
        if mended is None or change is None:
            change, size = None, size + 1
        else:
            change |= mended[0]
            size += min(mended[1], 10.0) / 100
    return Miss(pool.identifier, pool.region, lacks, change, round(size, 6))


Mended = tuple[dict[str, Any], float] | None


def _region(found: Column, row: int) -> Mended:
    return {"constraints.regions": sorted({*found.one.document["regions"], found.market.pools[row].region})}, 0.0


def _provider(found: Column, row: int) -> Mended:
    doc, provider = found.one.document, found.market.pools[row].provider
    change = {}
    if doc["providers"] and provider not in doc["providers"]:
        change["constraints.providers"] = sorted({*doc["providers"], provider})
    if provider in doc["exclude_providers"]:
        change["constraints.exclude_providers"] = sorted(set(doc["exclude_providers"]) - {provider})
    return change, 0.0


def _trust(found: Column, row: int) -> Mended:
    """A lower floor of trust or level. What lacks a sandbox, or is on probation, no change of the task lets in."""
    doc, pool, trust = found.one.document, found.market.pools[row], float(found.trust[row])
    alone = not doc.get("verified")  # its word would be all there is
    if not (doc["trusted"] or found.market.sandboxed[row]) or (alone and (pool.probation or _judged(found, row))):
        return None
    change: dict[str, Any] = {}
    if trust < (floor := float(doc.get("min_trust", 0))):
        change["constraints.min_trust"] = _floor_below(trust)
    if pool.level < (level := doc.get("min_level", 0)):
        change["constraints.min_level"] = pool.level
    if alone and not found.believed[row] and not doc.get("accept_unproven"):
        change["constraints.accept_unproven"] = True
    return change, max(floor - trust, 0.0) + max(level - pool.level, 0)


def _judged(found: Column, row: int) -> bool:
    """A validator's word pays and blames others: no task's to risk."""
    return bool(found.one.document["stage"] >= VALIDATES and not found.believed[row])


def _floor_below(trust: float) -> str:
    """Rounded to what a task may say, with room for what the record fades within a quarter of an hour."""
    return str(max(Decimal(str(trust)) - FADES, Decimal(0)).quantize(Decimal("0.0001"), rounding=ROUND_DOWN))


def _network(found: Column, row: int) -> Mended:
    """A worse class, or a longer way, whichever is less; nothing where no way is known."""
    wanted, region = found.one.document["network"], found.market.pools[row].region
    snapshot, ends = found.market.snapshot, (wanted["from"], region)
    asked = int(wanted["jitter_class"])
    ways = [snapshot.steady.get((*ends, level)) for level in range(asked, WORST + 1)]
    eased = [_eased(wanted, route) for route in (*ways, snapshot.routes.get(ends)) if route is not None]
    return min(eased, key=lambda mended: mended[1]) if eased else None


def _eased(wanted: Mapping[str, Any], route: Route) -> tuple[dict[str, Any], float]:
    """What the task would have to say for this way to do, and how much that is: classes, and the way's part beyond the limit."""
    eased = dict(wanted) | {"jitter_class": max(route.jitter_class, int(wanted["jitter_class"]))}
    size = float(eased["jitter_class"] - int(wanted["jitter_class"]))
    if "max_latency_s" in wanted and route.latency_s > (most := float(wanted["max_latency_s"])):
        eased["max_latency_s"] = round(route.latency_s * AGES + 5e-7, 6)
        size += 1 - most / route.latency_s
    return {"constraints.network": eased}, size


def _price(found: Column, row: int) -> Mended:
    """The cap per unit that would do; the caller knows how many units share the task's."""
    needed = Decimal(str(found.price[row] + found.egress[row])) + Decimal(str(found.one.document["fee"]))
    cap = Decimal(str(found.one.document["cap"]))
    return {"unit_cap": str(needed.quantize(Decimal("1e-12"), rounding=ROUND_UP))}, float((needed - cap) / max(cap, needed))


def _deadline(found: Column, row: int) -> Mended:
    """A minute's margin is added, so that asking again a moment later still holds."""
    at = found.market.snapshot.at
    finish = float(found.wait_s[row] + found.transfer_s[row] + found.run_p90_s[row] + found.return_s[row])
    late = at + finish - float(found.one.document["deadline"])
    return {"deadline": at + finish + MARGIN_S}, late / max(finish, 1.0)


_MENDED: Final = {
    "region": _region,
    "provider": _provider,
    "trust": _trust,
    "network": _network,
    "price": _price,
    "deadline": _deadline,
}
