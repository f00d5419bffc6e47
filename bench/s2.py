"""S2, the control plane: N units through submit, expand, match, lease, settle, measure and charge; nothing runs.

    python -m bench s2 [N ...]          default 100000; 10000 100000 1000000 shows how it grows

The agents are two real processes with the null executor: signed syncs over HTTP, leases and reports in batches.
Beside it, in the same run, the same rows by plain set-based SQL (bench/plain_river.py).
"""

from __future__ import annotations

from typing import Any

from bench import plain_river
from bench.figures import others_share, save, say, shown, versus
from bench.market import Market, scratch_market
from bench.sampling import sampled

BAR = 2_000
GOAL = 5_000
CORES = 64  # of each pretended machine
ARGV = ("/bin/true",)


def main(sizes: list[int]) -> None:
    """Run every size on one market, each with its reference beside it."""
    with scratch_market(cores=CORES, memory_mib=256 * 1024) as market:
        market.start_agents("null")
        market.deliver(100, ARGV, 60, 0.001)  # everything has been used once
        figures = [_figures_of(market, units) for units in sizes or [100_000]]
    _report(figures)
    save("s2", figures)


def _figures_of(market: Market, units: int) -> dict[str, Any]:
    say(f"\nS2: {units:,} units with a null executor")
    with sampled(market.pids()) as taken:
        wall, task = market.deliver(units, ARGV, 60 + units / 200, 0.001)
    one = {"units": units, "wall_s": wall, "units_per_s": units / wall, "cost": task["cost"]["amount"]}
    say(f"  {wall:.1f} s: delivered, metered, charged {task['cost']['amount']} {task['cost']['currency']}")
    say(f"  processor: {shown(taken.cpu_s, 's')}; others on this machine {others_share(taken):.0%}")
    say(f"  memory:    {shown(taken.peak_mib, 'MiB')}")
    with sampled({"postgres": market.pids()["postgres"]}) as plainly:
        plain, steps = plain_river.units_per_second(market.urls.database_url, units)
    say(f"  reference: {shown(steps, '/s')}; others on this machine {others_share(plainly):.0%}")
    spent, spent_plainly = sum(taken.cpu_s.values()) / units * 1e6, sum(plainly.cpu_s.values()) / units * 1e6
    say(f"  processor per unit: {spent:.0f} us, of the reference {spent_plainly:.0f} us (neighbours do not count)")
    verdict = "goal reached" if units / wall >= GOAL else "bar reached" if units / wall >= BAR else "bar MISSED"
    one["ratio"] = versus("Gridfare", units / wall, "plain SQL", plain)
    say(f"  bar {BAR:,}/s, goal {GOAL:,}/s: {verdict}")
    one |= {"cpu_us": spent, "plain_cpu_us": spent_plainly}
    return one | {"plain_per_s": plain, "plain_steps_per_s": steps, **taken.document()}


def _report(figures: list[dict[str, Any]]) -> None:
    say("\n  units      units/s   of plain SQL   largest process")
    for one in figures:
        name, peak = max(one["peak_mib"].items(), key=lambda pair: pair[1])
        say(f"  {one['units']:9,}  {one['units_per_s']:7,.0f}   {one['ratio']:11.2f} x   {name} {peak:.0f} MiB")
