"""Small traces and parks, and hypothesis strategies of them: what the simulator's tests need."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

from scheduler.matching import Prices
from scheduler.simulator import Park, Trace, Unit
from scheduler.simulator.values import need_of
from tests.scheduler.values import PRICE, a_pool

GFLOPS: Final = 62.5  # of a core of a_pool(): so a trace's seconds are seconds there


def a_need(**fields: Any) -> dict[str, Any]:
    """A core for ten seconds of alice's."""
    named: dict[str, Any] = {"version": 1, "cores": 1, "organization": "acme", "objective": "balanced"} | fields
    asked_s = named.pop("asked_s", 10.0)
    return need_of(tflop=asked_s * named["cores"] * GFLOPS / 1e3, **named)


def a_trace(*units: tuple[float, float, dict[str, Any]]) -> Trace:
    """(arrival, seconds, need) triples."""
    return Trace("a trace", [Unit(need, at, run_s) for at, run_s, need in units], GFLOPS)


def a_park(*pools: Any) -> Park:
    """The pools, or one of eight cores; all ask the same price."""
    listed = pools or (a_pool(),)
    return Park(listed, {pool.id: Prices(pool.id, PRICE) for pool in listed})


@st.composite
def parks(draw: st.DrawFn) -> Park:
    """One to three pools of a few cores, with devices or without, at several prices and speeds."""
    pools = [
        a_pool(
            number,
            cores=(cores := draw(st.integers(1, 8))),
            memory_mib=draw(st.integers(256, 8_192)),
            accelerators=draw(st.sampled_from([(), (("a100", 2),)])),
            mflops=cores * draw(st.sampled_from([30_000, 62_500, 125_000])),
        )
        for number in range(1, draw(st.integers(1, 3)) + 1)
    ]
    prices = st.sampled_from([0.0001, 0.0002, 0.001])
    return Park(pools, {pool.id: Prices(pool.id, {"core_second": draw(prices)}) for pool in pools})


@st.composite
def needs(draw: st.DrawFn, version: int) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        more["deadline"] = draw(st.integers(1, 20)) * 10
    if draw(st.integers(0, 3)) == 0:
        more["gang"] = draw(st.integers(2, 3))
    return a_need(
        version=version,
        cores=draw(st.integers(1, 6)),
        memory_mib=draw(st.integers(0, 1_024)),
        accelerators=draw(st.sampled_from([[], [], [{"model": "a100", "count": 1}]])),
        organization=draw(st.sampled_from(["acme", "institute"])),
        objective=draw(st.sampled_from(["cheapest", "fastest", "balanced", "greenest"])),
        asked_s=draw(st.sampled_from([0.5, 10.0, 300.0])),
        **more,
    )


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Up to four classes, each arriving a few times: short and long, with deadlines, gangs and devices."""
    units: list[Unit] = []
    for version in range(1, draw(st.integers(1, 4)) + 1):
        need = draw(needs(version))
        for _ in range(draw(st.integers(1, 3))):
            at = draw(st.sampled_from([0.0, 0.01, 0.04, 5.0, 60.0]))
            count = draw(st.integers(1, 4)) * int(need.get("gang", 1))
            units += [Unit(need, at, draw(st.sampled_from([0.01, 1.0, 20.0, 500.0]))) for _ in range(count)]
    return Trace("drawn", sorted(units, key=lambda unit: unit.at), GFLOPS)
