"""What an outcome comes to: the figures by which policies are compared. Pure.

    bounded slowdown  max(1, (end - arrival) / max(run, 10 s)), the run as the trace has it: so a slow pool does not look good
                      (Feitelson and Rudolph 1998, tau = 10 s)
    waiting           start - arrival, seconds                      utilisation  busy core seconds / (all cores x the whole time)
    unplaced          units that never started                      missed       units with a deadline not over by it, unplaced too

Slowdown and waiting are of units that ended; hold `unplaced` against them. P99 is the smallest value that 99 % do not exceed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scheduler.simulator.run import Outcome

TAU_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One policy on one trace. Times in seconds, money in the currency of the prices."""

    policy: str
    units: int
    unplaced: int
    with_deadline: int
    missed: int
    slowdown_mean: float
    slowdown_p99: float
    wait_mean_s: float
    wait_p99_s: float
    wait_max_s: float
    makespan_s: float
    utilisation: float
    cost: float
    carbon_kg: float
    rounds: int
    decided_by: dict[str, int]
    round_mean_s: float
    round_p99_s: float


def figures_of(outcome: Outcome) -> Figures:
    """The figures of an outcome."""
    slowdowns, waits = slowdowns_of(outcome), waits_of(outcome)
    missed, with_deadline = _deadlines(outcome)
    return Figures(
        policy=outcome.policy.name,
        units=len(outcome.trace.units),
        unplaced=outcome.started.count(None),
        with_deadline=with_deadline,
        missed=missed,
        slowdown_mean=_mean(slowdowns),
        slowdown_p99=_p99(slowdowns),
        wait_mean_s=_mean(waits),
        wait_p99_s=_p99(waits),
        wait_max_s=max(waits, default=0.0),
        makespan_s=_makespan(outcome),
        utilisation=_utilisation(outcome),
        cost=float(np.sum(outcome.cost)),
        carbon_kg=float(np.sum(outcome.carbon_g)) / 1e3,
        rounds=len(outcome.rounds_s),
        decided_by=dict(sorted(outcome.decided_by.items())),
        round_mean_s=_mean(outcome.rounds_s),
        round_p99_s=_p99(outcome.rounds_s),
    )


def waits_of(outcome: Outcome) -> list[float]:
    """Seconds from arrival to start, of units that started."""
    pairs = zip(outcome.trace.units, outcome.started, strict=True)
    return [started - unit.at for unit, started in pairs if started is not None]


def slowdowns_of(outcome: Outcome) -> list[float]:
    """Bounded slowdowns of units that ended."""
    pairs = zip(outcome.trace.units, outcome.ended, strict=True)
    return [max(1.0, (ended - unit.at) / max(unit.run_s, TAU_S)) for unit, ended in pairs if ended is not None]


def _deadlines(outcome: Outcome) -> tuple[int, int]:
    """Units not over by their deadline, and units that have one."""
    begin, missed, count = outcome.trace.begins_at, 0, 0
    for unit, ended in zip(outcome.trace.units, outcome.ended, strict=True):
        deadline = unit.document.get("deadline")
        if deadline is not None:
            count += 1
            missed += ended is None or begin + ended > deadline
    return missed, count


def _makespan(outcome: Outcome) -> float:
    last = max((ended for ended in outcome.ended if ended is not None), default=None)
    return last - outcome.trace.units[0].at if last is not None else 0.0


def _utilisation(outcome: Outcome) -> float:
    cores, makespan = sum(pool.cores for pool in outcome.park.pools), _makespan(outcome)
    times, busy = np.array([at for at, _ in outcome.held]), np.array([held for _, held in outcome.held])
    return float(np.diff(times) @ busy[:-1]) / (cores * makespan) if makespan > 0 else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _p99(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.99, method="inverted_cdf")) if values else 0.0


HEADINGS: Final = (
    "policy", "slowdown mean", "P99", "wait mean", "P99", "max", "all over", "utilisation", "cost", "CO2 kg", "unplaced", "missed",
    "rounds", "s a round", "P99",
)  # fmt: skip


def table(figures: Sequence[Figures]) -> str:
    """The figures of several policies as a table, a policy a line."""
    rows = [HEADINGS, *(_row(one) for one in figures)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(_cell(text, width, place) for place, (text, width) in enumerate(zip(row, widths, strict=True))) for row in rows
    )


def _cell(text: str, width: int, place: int) -> str:
    return text.rjust(width) if place else text.ljust(width)


def _row(one: Figures) -> tuple[str, ...]:
    return (
        one.policy,
        f"{one.slowdown_mean:,.2f}",
        f"{one.slowdown_p99:,.2f}",
        duration(one.wait_mean_s),
        duration(one.wait_p99_s),
        duration(one.wait_max_s),
        duration(one.makespan_s),
        f"{one.utilisation:.1%}",
        f"{one.cost:,.2f}",
        f"{one.carbon_kg:,.1f}",
        f"{one.unplaced:,}",
        f"{one.missed:,}/{one.with_deadline:,}" if one.with_deadline else "-",
        f"{one.rounds:,}",
        f"{one.round_mean_s:.4f}",
        f"{one.round_p99_s:.4f}",
    )


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(5.04), duration(300), duration(7200)
    ('5.0 s', '5.0 min', '2.0 h')
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
