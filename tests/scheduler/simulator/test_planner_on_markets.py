"""The planner on the benchmarks' markets, made small: their demand is what they promise, and the optimum decides."""

from __future__ import annotations

import random

import pytest

from bench.markets import full_market, load_of_market, open_market
from scheduler.matching import Snapshot, plan
from scheduler.matching.arcs import column
from scheduler.matching.market import Market
from scheduler.matching.program import Program
from scheduler.matching.shares import dues
from scheduler.matching.waiting import waits
from scheduler.simulator.policies import cheapest_first


def test_the_optimum_decides_although_hours_are_worth_very_different_sums() -> None:
    """Hours of the cheapest and of the fastest differ ten thousandfold, and two million units wait very long."""
    planned = plan(open_market(100, 300, 2_000_000, seed=1), time_box_s=60.0)
    assert planned.decided_by == "optimum"
    assert planned.bound <= planned.cost <= planned.bound * 1.01


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hundred_times_the_units_make_no_larger_program(seed: int) -> None:
    few, many = (columns_written(open_market(60, 100, units, seed)) for units in (10_000, 1_000_000))
    assert 500 < many <= 1.2 * few


def columns_written(snapshot: Snapshot) -> int:
    """The ways that the solver of a round got to see: its time follows them, and nothing is timed in tests."""
    market = Market(snapshot)
    found = [one for one in (column(each, market) for each in snapshot.classes) if one.fits.any()]
    waiting = waits(found, market)
    program = Program(found, market, waiting, dues(found, market, snapshot.used, waiting.costs))
    assert program.solve(60.0).finished
    return len(program.row)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crowded_market_is_placed_almost_whole_where_the_naive_greedy_leaves_much(seed: int) -> None:
    snapshot = full_market(100, 20, 4_000, 0.9, seed)
    units = sum(one.waiting for one in snapshot.classes)
    assert 0.8 < max(load_of_market(snapshot).values()) <= 0.9
    placed = sum(placement.units for one in plan(snapshot, time_box_s=60.0).decisions for placement in one.placements)
    naive = sum(placement.units for placement in cheapest_first(snapshot, random.Random(seed)))
    assert placed > 0.98 * units
    assert naive < 0.95 * units
