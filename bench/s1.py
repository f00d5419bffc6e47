"""S1, results: one task of N units, each a real process, from submit to delivered, metered and charged.

    python -m bench s1 [N ...]          default 10000

Two real agents of one core each run `/bin/true` under the process executor. Beside it, in the same run: Celery and
Redis alone running the same process per message, two at a time; and a Slurm job array where Slurm is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import raw_celery
from bench.figures import others_share, save, say, shown, versus
from bench.market import POOLS, scratch_market
from bench.sampling import Taken, sampled
from core import embedded
from core.stack import plan

BAR = 1.5
GOAL = 2.0
SLURM_JOBS = 1_000
ARGV = ("/bin/true",)


def main(sizes: list[int]) -> None:
    """Run every size, each with its reference beside it."""
    figures = []
    with scratch_market(cores=1) as market:
        market.start_agents("process")
        market.deliver(50, ARGV, 60, 0.005)  # everything has been used once
        for units in sizes or [10_000]:
            say(f"\nS1: {units:,} units of /bin/true")
            with sampled(market.pids()) as taken:
                wall, task = market.deliver(units, ARGV, 60 + units / 20, 0.005)
            figures.append({"units": units, "wall_s": wall, "units_per_s": units / wall, "cost": task["cost"]["amount"]})
            figures[-1] |= taken.document()
            say(f"  {wall:.1f} s: delivered, metered, charged {task['cost']['amount']} {task['cost']['currency']}")
            say(f"  processor: {shown(taken.cpu_s, 's')}; others on this machine {others_share(taken):.0%}")
            say(f"  memory:    {shown(taken.peak_mib, 'MiB')}")
    _compare(figures)
    save("s1", figures)


def _compare(figures: list[dict[str, Any]]) -> None:
    """The references, with the market's own processes gone: both have the machine for themselves."""
    slurm = slurm_rate()
    for one in figures:
        one["raw_celery_per_s"], taken = celery_rate(one["units"])
        say(f"\n{one['units']:,} units; others on this machine meanwhile {others_share(taken):.0%}")
        spent, spent_there = (sum(cpu.values()) / one["units"] * 1e3 for cpu in (one["cpu_s"], taken.cpu_s))
        say(f"  processor per unit: {spent:.2f} ms, of raw Celery {spent_there:.2f} ms (neighbours do not count)")
        one |= {"cpu_ms": spent, "raw_celery_cpu_ms": spent_there}
        one["ratio"] = versus("Gridfare", one["units_per_s"], "raw Celery", one["raw_celery_per_s"], BAR)
        if slurm is None:
            say("  Slurm is not installed here: left out")
        else:
            one["slurm_per_s"] = slurm
            versus("Gridfare", one["units_per_s"], f"Slurm array of {SLURM_JOBS}", slurm)
    say(f"  the goal is {GOAL:g} x; agents: {len(POOLS)} of one core")


def celery_rate(messages: int) -> tuple[float, Taken]:
    """Messages per second of Celery alone, on a Redis of its own, and what its processes took."""
    folder = Path(tempfile.mkdtemp(prefix="gridfare-bench-"))
    url = embedded.ensure(folder, only=["redis"]).redis_url.rsplit("/", 1)[0]
    environment = {**os.environ, "RAW_CELERY_URL": url}
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            raw_celery.worker_command(), env=environment, cwd=plan.working_folder(), stdout=log, stderr=log
        )
    try:
        command = [sys.executable, "-m", "bench.raw_celery", str(messages)]
        sender = subprocess.Popen(command, env=environment, cwd=plan.working_folder(), stdout=subprocess.PIPE)
        redis = {one.name: one.pid() or 0 for one in embedded.servers(folder) if one.name == "redis"}
        with sampled({"sender": sender.pid, "worker": worker.pid, **redis}) as taken:
            answer, _ = sender.communicate()
        return float(answer), taken
    finally:
        worker.terminate()
        worker.wait(30)
        embedded.stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def slurm_rate() -> float | None:
    """Jobs per second of a Slurm job array, None where there is no Slurm."""
    if not (shutil.which("sbatch") and shutil.which("slurmd")):
        return None
    began = time.perf_counter()
    subprocess.run(["sbatch", "--wait", f"--array=1-{SLURM_JOBS}", "--output=/dev/null", "--wrap=/bin/true"], check=True)
    return SLURM_JOBS / (time.perf_counter() - began)
