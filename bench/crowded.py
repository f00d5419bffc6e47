"""A market nearly full: what the planner leaves unplaced, beside a greedy that takes the cheapest pool with room.

    python -m bench crowded [SEEDS]          default 3

400 classes, 60 pools, about 20,000 units that ask for 85 % and 95 % of the cores and as near to that of the memory; all of them
could be placed (bench/markets.py). Everybody wants to be placed now (`fastest`). The reference takes the units one by one in
random order, each to the lowest price that has room: what a market does that asks nothing more of itself.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from bench.figures import save, say
from bench.markets import full_market, load_of_market
from scheduler.matching import Placement, Snapshot, plan
from scheduler.simulator.policies import cheapest_first

CLASSES, POOLS, UNITS, LOADS = 400, 60, 20_000, (0.85, 0.95)
BAR, BAR_GREEDY = 0.01, 0.20
NO_BOX_S = 3_600.0


def main(sizes: list[int]) -> None:
    seeds = range(1, (sizes[0] if sizes else 3) + 1)
    save("crowded", [figures_of(load, seeds) for load in LOADS])


def figures_of(load: float, seeds: range) -> dict[str, Any]:
    """The unplaced share of both at one load."""
    runs = [run_of(load, seed) for seed in seeds]
    optimum = statistics.mean(run["optimum"] for run in runs)
    greedy = statistics.mean(run["cheapest first"] for run in runs)
    verdict = (
        "reached"
        if optimum <= BAR and greedy > BAR_GREEDY
        else "MISSED"
        if optimum > BAR
        else "not as bad a greedy as the bar expects"
    )
    say(f"load {load:.0%}, mean of {len(runs)}: the optimum leaves {optimum:.2%} unplaced, the greedy {greedy:.1%}"
        f"   bar {BAR:.0%} where the greedy leaves over {BAR_GREEDY:.0%}: {verdict}")  # fmt: skip
    return {"load": load, "optimum": optimum, "cheapest first": greedy, "runs": runs}


def run_of(load: float, seed: int) -> dict[str, Any]:
    snapshot = full_market(CLASSES, POOLS, UNITS, load, seed)
    units = sum(one.waiting for one in snapshot.classes)
    began = time.perf_counter()
    planned = plan(snapshot, time_box_s=NO_BOX_S)
    seconds = time.perf_counter() - began
    ours = [placement for one in planned.decisions for placement in one.placements]
    theirs = cheapest_first(snapshot, random.Random(seed))
    asked = load_of_market(snapshot)
    gap = planned.cost / planned.bound - 1
    cores, memory = asked["cores"], asked["memory_mib"]
    say(f"  seed {seed}: {units:,} units ask for {cores:.1%} of the cores and {memory:.1%} of the memory; unplaced are")
    say(f"    by the optimum {unplaced(snapshot, ours):.2%} of the units, {without(snapshot, ours):.2%} of the cores asked for")
    say(f"    by the greedy {unplaced(snapshot, theirs):.1%}, {without(snapshot, theirs):.1%}")
    say(f"    the optimum took {seconds:.2f} s, its plan costs {gap:.3%} more than its bound")
    return {
        "seed": seed, "units": units, "asked": asked, "seconds": seconds, "gap": gap, "decided_by": planned.decided_by,
        "optimum": unplaced(snapshot, ours), "cheapest first": unplaced(snapshot, theirs),
        "optimum, of cores": without(snapshot, ours), "cheapest first, of cores": without(snapshot, theirs),
    }  # fmt: skip


def unplaced(snapshot: Snapshot, placements: list[Placement]) -> float:
    """The part of all units that has no place."""
    return 1 - sum(placement.units for placement in placements) / sum(one.waiting for one in snapshot.classes)


def without(snapshot: Snapshot, placements: list[Placement]) -> float:
    """The part of all cores asked for that is not given."""
    cores: dict[int, int] = {one.need_id: one.document["need"]["cores"] for one in snapshot.classes}
    given = sum(cores[placement.need_id] * placement.units for placement in placements)
    return 1 - given / sum(cores[one.need_id] * one.waiting for one in snapshot.classes)
