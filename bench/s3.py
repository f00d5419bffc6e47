"""S3: one round of the planner, 200 classes over 1,000 pools, beside HiGHS solving the whole linear program at once.

    python -m bench s3 [UNITS ...]          default 100000 1000000

The reference is the same program with every way of every class written down before the first solve; the planner makes columns on
demand. Both values must agree, to the 0.1 % at which it stops: then a gap of the whole plan is a gap to the optimum. Five rounds on
each size, the best and the median of wall and processor seconds (a round runs on one thread), and where a round's time goes.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from typing import Any

from bench.figures import save, say
from bench.markets import open_market
from scheduler.matching import Plan, Snapshot, plan
from scheduler.matching.arcs import column
from scheduler.matching.market import Bools, Market
from scheduler.matching.program import Optimum, Program
from scheduler.matching.shares import dues
from scheduler.matching.waiting import waits

CLASSES, POOLS, REPEATS, SEED = 200, 1_000, 5, 1
BAR_S, BAR_GAP = 1.0, 0.01
NO_BOX_S = 3_600.0
AS_IT_COMES = {"presolve": "choose", "solver": "choose", "simplex_strategy": 1, "simplex_scale_strategy": 2}
# what a round consists of: function of scheduler/matching → its part
PARTS = {
    ("arcs.py", "column"): "classes against pools",
    ("waiting.py", "waits"): "cost of waiting",
    ("shares.py", "dues"): "fair shares",
    ("entries.py", "__init__"): "rows of the program",
    ("program.py", "_begin"): "its first columns",
    ("program.py", "_join"): "columns on demand",
    ("rounding.py", "round_down"): "whole units",
    ("rounding.py", "hand_out"): "leftovers",
    ("plan.py", "_decisions"): "decisions",
}


def main(sizes: list[int]) -> None:
    figures = [figures_of(size) for size in sizes or [100_000, 1_000_000]]
    for one in figures[1:]:
        ratio = one["median_cpu_s"] / figures[0]["median_cpu_s"]
        say(f"{one['units']:,} units take {ratio:.2f} x the processor time of {figures[0]['units']:,}")
    save("s3", figures)


def figures_of(units: int) -> dict[str, Any]:
    """Seconds of a round, its gap, and the reference's."""
    snapshot = open_market(CLASSES, POOLS, units, SEED)
    plan(snapshot, time_box_s=NO_BOX_S)  # what is only done once per process is not a round's
    wall, cpu, planned = timed(snapshot)
    placed = sum(placement.units for one in planned.decisions for placement in one.placements)
    gap = planned.cost / planned.bound - 1 if planned.bound else float("inf")
    say(f"{units:,} units, {CLASSES} classes, {POOLS:,} pools: {placed:,} placed, decided by {planned.decided_by}")
    say(f"  a round: best {min(wall):.3f} s, median {statistics.median(wall):.3f} s, of processor {statistics.median(cpu):.3f} s"
        f"   bar {BAR_S:g} s of processor: {'reached' if statistics.median(cpu) <= BAR_S else 'MISSED'}")  # fmt: skip
    say(f"  whole plan over the program's bound: {gap:.4%}   bar {BAR_GAP:.0%}: {'reached' if gap <= BAR_GAP else 'MISSED'}")
    parts = profile(snapshot)
    say(
        "  of it, profiled: " + "  ".join(f"{name} {share:.0%}" for name, share in sorted(parts.items(), key=lambda pair: -pair[1]))
    )
    reference_s, reference = whole_program(snapshot)
    agrees = abs(planned.bound / reference.bound - 1)
    say(f"  HiGHS on all {reference.ways:,} ways at once: {reference_s:.2f} s of processor, "
        f"{reference_s / statistics.median(cpu):.1f} x; the bounds differ by {agrees:.4%}")  # fmt: skip
    return {
        "units": units, "placed": placed, "wall_s": wall, "cpu_s": cpu, "median_wall_s": statistics.median(wall),
        "median_cpu_s": statistics.median(cpu), "gap": gap, "parts": parts, "reference_cpu_s": reference_s,
        "reference_ways": reference.ways, "bounds_differ": agrees, "decided_by": planned.decided_by,
    }  # fmt: skip


def timed(snapshot: Snapshot) -> tuple[list[float], list[float], Plan]:
    wall, cpu = [], []
    for _ in range(REPEATS):
        began, busy = time.perf_counter(), time.process_time()
        planned = plan(snapshot, time_box_s=NO_BOX_S)
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - busy)
    return wall, cpu, planned


def profile(snapshot: Snapshot) -> dict[str, float]:
    """Part of a round → its share of the time. What is not named is the solver's."""
    profiler = cProfile.Profile()
    profiler.enable()
    plan(snapshot, time_box_s=NO_BOX_S)
    profiler.disable()
    stats: Any = pstats.Stats(profiler)
    spent: dict[str, float] = {}
    for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items():
        part = PARTS.get((file.rpartition("/")[2], function)) if "matching" in file else None
        if part:
            spent[part] = spent.get(part, 0.0) + cumulative
    return {name: seconds / stats.total_tt for name, seconds in spent.items()} | {
        "the solver": 1 - sum(spent.values()) / stats.total_tt
    }


class Whole(Program):
    """The program with all ways from the beginning, and HiGHS as it comes: presolve, its own choice of method and basis."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        for name in ("presolve", "solver", "simplex_strategy", "simplex_scale_strategy"):
            self.solver.setOptionValue(name, AS_IT_COMES[name])

    def _start_from_nothing(self) -> None:
        """The solver begins as it likes."""

    def _first(self, kind: int) -> Bools:
        every: Bools = self.open[kind].copy()
        return every


class Reference:
    """What the reference found."""

    def __init__(self, optimum: Optimum, ways: int) -> None:
        assert optimum.finished
        self.bound, self.ways = optimum.bound, ways


def whole_program(snapshot: Snapshot) -> tuple[float, Reference]:
    """Processor seconds of building and solving the whole program, and its value."""
    began = time.process_time()
    market = Market(snapshot)
    found = [one for one in (column(state, market) for state in snapshot.classes) if one.fits.any()]
    waiting = waits(found, market)
    program = Whole(found, market, waiting, dues(found, market, snapshot.used, waiting.costs))
    optimum = program.solve(NO_BOX_S)
    return time.process_time() - began, Reference(optimum, len(program.row))
