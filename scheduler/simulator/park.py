"""The pools of a simulation, from their JSON description (docs/scheduling/simulator.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from marketplace.carbon import NATIONAL_G_PER_KWH, carbon_now
from scheduler.matching.values import PoolState, Prices
from scheduler.simulator.shapes import POOLS, checked
from scheduler.simulator.values import OFFERS_AT, BadFile

WATTS: Final = 10.0
CHINA: Final = timedelta(hours=8)  # the hours of `by_hour` are those of the market's clock


@dataclass(frozen=True, slots=True)
class Park:
    """Pools without load, what they ask for, and the electricity of their regions.

    grids  region → (g CO2 per kWh, 24 factors by hour or none)
    """

    pools: Sequence[PoolState]
    prices: Mapping[int, Prices]
    grids: Mapping[str, tuple[float, Sequence[float]]] = field(default_factory=dict)

    @property
    def offers(self) -> dict[tuple[int, str], Prices]:
        """As the planner wants them."""
        return {(pool_id, OFFERS_AT): prices for pool_id, prices in self.prices.items()}

    def carbon(self, at: float) -> dict[str, float]:
        """Region → g CO2 per kWh at a moment (seconds since the epoch)."""
        hour = (datetime.fromtimestamp(at, UTC) + CHINA).hour
        regions = sorted({pool.region for pool in self.pools})
        grids = {region: self.grids.get(region, (NATIONAL_G_PER_KWH, ())) for region in regions}
        return {region: round(carbon_now(grams, factors, hour), 3) for region, (grams, factors) in grids.items()}


def read_park(path: Path) -> Park:
    """Raises BadFile naming the field."""
    document = checked(path, POOLS)
    described = list(_each(document["pools"]))
    names = [name for name, _ in described]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise BadFile(f"{path}: pools: two pools are named {twice}")
    pools = [_pool(number, name, one) for number, (name, one) in enumerate(described, 1)]
    prices = {number: Prices(number, one["prices"]) for number, (_, one) in enumerate(described, 1)}
    grids = {code: (float(one["carbon_g_per_kwh"]), one.get("by_hour", ())) for code, one in document.get("regions", {}).items()}
    return Park(sorted(pools, key=lambda pool: pool.identifier), prices, grids)


def _each(pools: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every pool by its name; one with a `count` is so many, numbered."""
    for one in pools:
        count = one.get("count")
        names = [one["identifier"]] if count is None else [f"{one['identifier']}-{n:03d}" for n in range(1, count + 1)]
        yield from ((name, one) for name in names)


def _pool(number: int, name: str, one: Mapping[str, Any]) -> PoolState:
    return PoolState(
        id=number,
        identifier=name,
        region=one["region"],
        provider=one.get("provider", "provider"),
        instruction_set=one.get("instruction_set", "x86_64"),
        cores=one["cores"],
        memory_mib=int(one["memory_mib"]),
        disk_mib=one.get("disk_mib", 1_000_000),
        accelerators=tuple((a["model"], a["count"]) for a in one.get("accelerators", [])),
        executors=tuple(one.get("executors", ("process", "sandbox"))),
        mflops=max(round(one["core_gflops"] * 1e3 * one["cores"]), 1),
        bandwidth_mbps=one.get("bandwidth_mbps", 1_000),
        allow=tuple(one.get("allow", ())),
        deny=tuple(one.get("deny", ())),
        watts=float(one.get("watts_per_core", WATTS)),
    )
