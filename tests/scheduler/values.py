"""The matcher's values for tests that need no database: pools, needs, offers, and hypothesis strategies of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hypothesis import strategies as st

from scheduler.matching import ClassState, PoolState, Prices, Snapshot

AT: Final = "2026-03-01T12:00:00+00:00"
PRICE: Final = {"core_second": 0.0001}


def a_pool(number: int = 1, **fields: Any) -> PoolState:
    """A pool of bob's: eight cores, half a TFLOPS."""
    machine: dict[str, Any] = {
        "identifier": f"pool-{number:03d}",
        "region": "ningxia",
        "provider": "bobs-pools",
        "instruction_set": "x86_64",
        "cores": 8,
        "memory_mib": 16_384,
        "disk_mib": 102_400,
        "accelerators": (),
        "executors": ("process", "sandbox"),
        "mflops": 500_000,
        "bandwidth_mbps": 1_000,
    }
    return PoolState(id=number, **machine | fields)


def a_need(**fields: Any) -> dict[str, Any]:
    """What one unit of alice's needs: a core, and 0.1 TFLOP (1.6 s on the pool above)."""
    needed = {name: fields.pop(name) for name in ("cores", "memory_mib", "disk_mib", "accelerators") if name in fields}
    document: dict[str, Any] = {
        "version": 1,
        "stage": 0,
        "need": {"cores": 1, "memory_mib": 64, "disk_mib": 64, "accelerators": []} | needed,
        "variants": [{"instruction_set": "any", "accelerator": None}],
        "tflop": "0.1",
        "run_s": 3600,
        "bytes_in": 0,
        "organization": "acme",
        "trusted": True,
        "objective": "cheapest",
        "regions": [],
        "providers": [],
        "exclude_providers": [],
        "cap": None,
        "fee": "0",
        "offers_at": AT,
    }
    return document | fields


def a_class(number: int = 1, waiting: int = 1, avoid: Sequence[int] = (), **need: Any) -> ClassState:
    return ClassState(number, a_need(**need), waiting, tuple(avoid))


def a_market(
    classes: Sequence[ClassState],
    pools: Sequence[PoolState],
    prices: Mapping[int, Mapping[str, float]] | None = None,
) -> Snapshot:
    """A snapshot in which every pool has an offer: its own prices, or PRICE. Pools with prices {} have none."""
    own = prices or {}
    offers = {
        (pool.id, AT): Prices(100 + pool.id, rates) for pool in pools if (rates := own.get(pool.id, PRICE)) != {}
    }
    return Snapshot(list(classes), list(pools), offers)


REGIONS: Final = ("ningxia", "gansu", "shanghai")
PROVIDERS: Final = ("bobs-pools", "mallorys")


@st.composite
def pools(draw: st.DrawFn, number: int) -> PoolState:
    return a_pool(
        number,
        region=draw(st.sampled_from(REGIONS)),
        provider=draw(st.sampled_from(PROVIDERS)),
        instruction_set=draw(st.sampled_from(["x86_64", "aarch64"])),
        cores=draw(st.integers(1, 64)),
        memory_mib=draw(st.integers(64, 65_536)),
        disk_mib=draw(st.integers(64, 65_536)),
        accelerators=draw(st.sampled_from([(), (("a100", 2),)])),
        executors=draw(st.sampled_from([("process",), ("process", "sandbox")])),
        mflops=draw(st.integers(0, 10**6)),
        shares=draw(st.floats(0, 3)),
        backlog_s=draw(st.floats(0, 100)),
    )


@st.composite
def classes(draw: st.DrawFn, number: int, known: Sequence[int]) -> ClassState:
    fields: dict[str, Any] = {
        "cores": draw(st.integers(1, 16)),
        "memory_mib": draw(st.integers(1, 8_192)),
        "disk_mib": draw(st.integers(1, 8_192)),
        "accelerators": draw(st.sampled_from([[], [], [{"model": "a100", "count": 1}]])),
        "tflop": draw(st.sampled_from(["0", "0.001", "0.1", "20"])),
        "objective": draw(st.sampled_from(["cheapest", "fastest"])),
        "trusted": draw(st.booleans()),
        "regions": draw(st.sampled_from([[], [], ["ningxia"], ["gansu", "shanghai"]])),
        "exclude_providers": draw(st.sampled_from([[], [], ["mallorys"]])),
        "cap": draw(st.sampled_from([None, None, "0.0005"])),
        "variants": draw(
            st.sampled_from([[{"instruction_set": one, "accelerator": None}] for one in ("any", "x86_64", "aarch64")])
        ),
    }
    avoid = draw(st.lists(st.sampled_from(known), max_size=2, unique=True)) if known else []
    return a_class(number, draw(st.integers(1, 20_000)), avoid, **fields)


@st.composite
def markets(draw: st.DrawFn) -> Snapshot:
    """Up to eight pools and five classes, some pools without an offer."""
    count = draw(st.integers(0, 8))
    listed = [draw(pools(number)) for number in range(1, count + 1)]
    prices = st.sampled_from([{}, PRICE, {"core_second": 0.001}, {"result": 0.0002}])
    own = {pool.id: draw(prices) for pool in listed}
    ids = [pool.id for pool in listed]
    return a_market([draw(classes(n, ids)) for n in range(1, draw(st.integers(1, 5)) + 1)], listed, own)
