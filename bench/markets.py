"""Synthetic markets for the planner's benchmarks: pools of many sizes, classes that fit some of them, as full as one likes.

Drawn from a seed. Cores come with 2, 4, 8 or 16 GiB, as the families of machines that clouds rent out do; needs ask for half a GiB
to 16. Half of the classes name the regions they allow, half an instruction set, a fifth need accelerators. Every unit runs for
hours, so that nothing is fetched ahead: what is not placed at once waits.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler.matching import ClassState, PoolState, Prices, Snapshot
from scheduler.matching.goals import OBJECTIVES
from scheduler.matching.loads import declared_of
from scheduler.matching.scalar import needs_of

AT: Final = "2026-03-01T12:00:00+00:00"
REGIONS: Final = 31
LONG_S: Final = 100_000
MODELS: Final = ("a100", "l40s", "ascend-910b")
RESOURCES: Final = ("cores", "memory_mib")


def pools_of(count: int, chance: random.Random) -> list[PoolState]:
    """Pools of 8 to 256 cores with 2 to 16 GiB a core; a fifth are aarch64, three of ten have accelerators, one for four cores."""
    return [_pool(number, chance) for number in range(1, count + 1)]


def _pool(number: int, chance: random.Random) -> PoolState:
    cores = chance.choice([8, 16, 32, 64, 128, 256])
    return PoolState(
        id=number,
        identifier=f"pool-{number:05d}",
        region=f"region-{chance.randrange(REGIONS)}",
        provider=f"provider-{number % 50}",
        instruction_set="x86_64" if chance.random() < 0.8 else "aarch64",
        cores=cores,
        memory_mib=cores * chance.choice([2_048, 4_096, 8_192, 16_384]),
        disk_mib=cores * 20_000,
        accelerators=((chance.choice(MODELS), cores // 4),) if chance.random() < 0.3 else (),
        executors=("process", "sandbox"),
        mflops=int(cores * chance.uniform(0.5, 2) * 60_000),
        bandwidth_mbps=chance.choice([100, 1_000, 10_000]),
    )


def _document(number: int, chance: random.Random, objective: str) -> dict[str, Any]:
    """A class; an `objective` of "" is any of the four."""
    cores = chance.choice([1, 1, 1, 2, 4, 8])
    accelerators = [{"model": chance.choice(MODELS), "count": max(cores // 4, 1)}] if chance.random() < 0.2 else []
    memory_mib = cores * chance.choice([512, 1_024, 2_048, 4_096, 8_192, 16_384])
    need = {"cores": cores, "memory_mib": memory_mib, "disk_mib": 1_000, "accelerators": accelerators}
    instruction_set = chance.choice(["any", "any", "x86_64", "aarch64"])
    return {
        "version": number,
        "stage": 0,
        "need": need,
        "variants": [{"instruction_set": instruction_set, "accelerator": None}],
        "tflop": str(round(chance.uniform(1, 8) * 3600 * 0.12 * cores, 3)),  # an hour on the fastest core, and longer
        "run_s": LONG_S,
        "bytes_in": chance.choice([0, 10**6, 10**9]),
        "organization": f"organization-{number % 20}",
        "trusted": True,
        "objective": objective or chance.choice(sorted(OBJECTIVES)),
        "regions": []
        if chance.random() < 0.5
        else [f"region-{n}" for n in sorted(chance.sample(range(REGIONS), chance.choice([2, 4, 8])))],
        "providers": [],
        "exclude_providers": [],
        "cap": None,
        "fee": "0",
        "offers_at": AT,
    }


def snapshot_of(
    documents: list[dict[str, Any]], counts: NDArray[np.int64], pools: list[PoolState], chance: random.Random
) -> Snapshot:
    offers = {(pool.id, AT): Prices(pool.id, {"core_second": chance.uniform(0.5, 2) * 3e-5}) for pool in pools}
    pairs = enumerate(zip(documents, counts, strict=True), 1)
    return Snapshot([ClassState(n, doc, int(count)) for n, (doc, count) in pairs if count], pools, offers)


def open_market(classes: int, pools: int, units: int, seed: int, objective: str = "") -> Snapshot:
    """So many units, however much the pools can take of them."""
    chance = random.Random(f"open {seed}")
    listed, documents = pools_of(pools, chance), [_document(n, chance, objective) for n in range(1, classes + 1)]
    weights = np.array([chance.random() + 0.1 for _ in documents])
    counts = np.floor(units * weights / weights.sum()).astype(np.int64)
    counts[0] += units - counts.sum()
    return snapshot_of(documents, counts, listed, chance)


def full_market(classes: int, pools: int, units: int, load: float, seed: int, objective: str = "fastest") -> Snapshot:
    """About `units` units that ask for this part of the cores that fit them, and for as much of the memory as a mix of them can.

    The demand is one that can be placed whole: it is drawn by filling every pool to its load with units that fit it, those with
    much memory a core where memory is left over, and then emptying the pools. So whatever a planner leaves unplaced
    is its own doing. Pools are grown by one factor, so that it comes to about `units` units.
    """
    chance = random.Random(f"full {seed}")
    listed, documents = pools_of(pools, chance), [_document(n, chance, objective) for n in range(1, classes + 1)]
    mean_cores = sum(doc["need"]["cores"] for doc in documents) / classes
    grown = [_grown(pool, units * mean_cores / load / sum(pool.cores for pool in listed)) for pool in listed]
    counts = np.zeros(classes, dtype=np.int64)
    for pool in grown:
        _fill(pool, [n for n, doc in enumerate(documents) if _fits(doc, pool)], documents, load, counts, chance)
    return snapshot_of(documents, counts, grown, chance)


def _grown(pool: PoolState, factor: float) -> PoolState:
    cores = max(round(pool.cores * factor), 8)
    sizes = {name: round(getattr(pool, name) * cores / pool.cores) for name in ("memory_mib", "disk_mib", "mflops")}
    return replace(pool, cores=cores, accelerators=tuple((model, cores // 4) for model, _ in pool.accelerators), **sizes)


def _fits(document: dict[str, Any], pool: PoolState) -> bool:
    architecture = document["variants"][0]["instruction_set"] in ("any", pool.instruction_set)
    models = {one["model"] for one in document["need"]["accelerators"]} <= {model for model, _ in pool.accelerators}
    return architecture and models and (not document["regions"] or pool.region in document["regions"])


def _fill(
    pool: PoolState,
    fitting: list[int],
    documents: list[dict[str, Any]],
    load: float,
    counts: NDArray[np.int64],
    chance: random.Random,
) -> None:
    """Count units of classes that fit, those with accelerators first, until cores or memory are as full as they shall be."""
    free = {name: amount * load for name, amount in declared_of(pool).items()}
    needs = {n: needs_of(documents[n]["need"]) for n in fitting}
    devices = [n for n in fitting if documents[n]["need"]["accelerators"]]
    plain = [n for n in fitting if not documents[n]["need"]["accelerators"]]
    for some in (devices, plain):
        while some:
            number = _next(some, needs, free, pool.memory_mib / pool.cores, chance)
            if any(amount > free[name] for name, amount in needs[number].items()):
                break
            counts[number] += 1
            for name, amount in needs[number].items():
                free[name] -= amount


def _next(some: list[int], needs: dict[int, dict[str, float]], free: dict[str, float], ratio: float, chance: random.Random) -> int:
    """A class that brings the memory left for a core back to `ratio`, where there is one: so both are used up together."""
    left = free["memory_mib"] / max(free["cores"], 1e-9)
    rich = [n for n in some if (needs[n]["memory_mib"] >= left * needs[n]["cores"]) == (left >= ratio)]
    return chance.choice(rich or some)


def load_of_market(snapshot: Snapshot) -> dict[str, float]:
    """The part of each resource of all pools that all units ask for."""
    asked = {name: sum(one.waiting * one.document["need"][name] for one in snapshot.classes) for name in RESOURCES}
    return {name: amount / sum(getattr(pool, name) for pool in snapshot.pools) for name, amount in asked.items()}
