"""What live units mean for the pools that have them: resources held, work ahead, room ahead taken, who uses how much. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scheduler.matching.scalar import dominant_share, needs_of, run_seconds
from scheduler.matching.shares import market_share
from scheduler.matching.values import PoolState
from scheduler.matching.ways import ahead_limit
from scheduler.pace import Fit, Key


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """A pool with its load, and what each organization's running units hold there, by resource."""

    pool: PoolState
    by_organization: Mapping[str, Mapping[str, float]]


def load_of(pool: PoolState, units: Sequence[tuple[Mapping[str, Any], int]], pace: Mapping[Key, Fit]) -> PoolLoad:
    """A pool with the load of its live units: (need document, how many) pairs.

    When the shares are more than one, some units wait on the pool: each kind the same part of it runs.
    """
    shares = [n * dominant_share(doc["need"], pool) for doc, n in units]
    runs = [run_seconds(doc, pool, pace) for doc, _ in units]
    total = sum(shares)
    running = min(1.0, 1 / total) if total > 0 else 1.0
    held: dict[str, dict[str, float]] = {}
    groups = []
    for (doc, n), run_s in zip(units, runs, strict=True):
        of_one, group = held.setdefault(doc["organization"], {}), dict[str, float]()
        for name, amount in needs_of(doc["need"]).items():
            of_one[name] = of_one.get(name, 0.0) + amount * n * running
            group[name] = round(amount * n * running, 9)
        groups.append((round(run_s, 3), tuple(sorted(group.items()))))
    limits = ahead_limit(np.array(runs, dtype=np.float64))
    ahead = sum(share / limit for share, limit in zip(shares, limits, strict=True) if limit > 0) * (1 - running)
    names = sorted({name for of_one in held.values() for name in of_one})
    summed = tuple((name, round(sum(of_one.get(name, 0.0) for of_one in held.values()), 9)) for name in names)
    backlog: float = sum(share * run for share, run in zip(shares, runs, strict=True))
    taken = float(min(max(ahead, 0.0), 1.0))
    loaded = replace(pool, shares=total, backlog_s=backlog, held=summed, ahead=taken, running=tuple(sorted(groups)))
    return PoolLoad(loaded, held)


def used_by(pools: Sequence[PoolState], loads: Sequence[PoolLoad]) -> dict[str, float]:
    """Organization → the dominant share of the whole market that its running units hold."""
    totals: dict[str, float] = {}
    held: dict[str, dict[str, float]] = {}
    for pool in pools if loads else ():
        for name, amount in declared_of(pool).items():
            totals[name] = totals.get(name, 0.0) + amount
    for load in loads:
        for organization, amounts in load.by_organization.items():
            of_one = held.setdefault(organization, {})
            for name, amount in amounts.items():
                of_one[name] = of_one.get(name, 0.0) + amount
    return {organization: round(market_share(amounts, totals), 9) for organization, amounts in sorted(held.items())}


def declared_of(pool: PoolState) -> dict[str, float]:
    """What a pool has, by resource; accelerators by model."""
    machine = {"cores": float(pool.cores), "memory_mib": float(pool.memory_mib), "disk_mib": float(pool.disk_mib)}
    return machine | {f"accelerator:{model}": float(count) for model, count in pool.accelerators}
