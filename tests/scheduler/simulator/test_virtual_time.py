"""The simulator: what holds of every trace on every park under every policy, and what a reader expects of small ones."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.matching.loads import declared_of
from scheduler.matching.scalar import needs_of
from scheduler.simulator import Outcome, Park, Policy, Settings, Trace, figures_of, policy_named, simulate
from scheduler.simulator.machines import DEPTH, PATIENCE_S, Machine, Party
from tests.scheduler.simulator.values import a_need, a_park, a_trace, parks, traces
from tests.scheduler.values import a_pool

POLICIES = ("optimum", "greedy", "cheapest_first", "fastest", "optimum:age_bound_s=20")
many = settings(max_examples=40, deadline=None)
policies = st.sampled_from([policy_named(name) for name in POLICIES])
OPTIMUM = policy_named("optimum")


@many
@given(traces(), parks(), policies)
def test_every_unit_runs_at_most_once_and_what_starts_ends_after_its_run(trace: Trace, park: Park, policy: Policy) -> None:
    outcome = simulate(trace, park, policy)
    speeds = {pool.id: pool.mflops / 1e3 / pool.cores for pool in park.pools}
    for unit, started, ended, pool in zip(trace.units, outcome.started, outcome.ended, outcome.pool, strict=True):
        assert (started is None) == (ended is None) == (pool is None)
        if started is not None and ended is not None:
            assert started >= unit.at
            assert ended - started == pytest.approx(unit.run_s * trace.core_gflops / speeds[pool], rel=1e-6, abs=1e-6)


@many
@given(traces(), parks(), policies)
def test_no_pool_ever_holds_more_than_it_has(trace: Trace, park: Park, policy: Policy) -> None:
    outcome = simulate(trace, park, policy)
    whole = {pool.id: declared_of(pool) for pool in park.pools}
    changes = []
    for unit, started, ended, pool in zip(trace.units, outcome.started, outcome.ended, outcome.pool, strict=True):
        if started is not None:
            need = needs_of(unit.document["need"])
            changes += [(ended, 0, pool, need), (started, 1, pool, need)]
    held: dict[tuple[int, str], float] = defaultdict(float)
    for _, starts, pool, need in sorted(changes, key=lambda change: change[:2]):
        for name, amount in need.items():
            held[pool, name] += amount if starts else -amount
            assert held[pool, name] <= whole[pool].get(name, 0.0) + 1e-6


@many
@given(traces(), parks(), policies)
def test_virtual_time_never_goes_back_and_the_counts_come_out_even(trace: Trace, park: Park, policy: Policy) -> None:
    outcome = simulate(trace, park, policy)
    for changes in (outcome.held, outcome.waiting):
        times = [at for at, _ in changes]
        assert times == sorted(times)
        assert all(value >= -1e-9 for _, value in changes)
    assert outcome.held[-1][1] == 0
    given_up = sum("deadline" in unit.document for unit, at in zip(trace.units, outcome.started, strict=True) if at is None)
    assert 0 <= outcome.started.count(None) - outcome.waiting[-1][1] <= given_up


@many
@given(traces(), parks(), policies, st.integers(0, 3))
def test_the_same_seed_has_the_same_outcome(trace: Trace, park: Park, policy: Policy, seed: int) -> None:
    first, second = (simulate(trace, park, policy, Settings(seed=seed)) for _ in range(2))
    assert without_wall_time(first) == without_wall_time(second)


def without_wall_time(outcome: Outcome) -> dict[str, Any]:
    return {one.name: getattr(outcome, one.name) for one in fields(outcome) if one.name != "rounds_s"}


@many
@given(traces(), parks(), policies)
def test_a_gang_starts_together_on_one_pool(trace: Trace, park: Park, policy: Policy) -> None:
    outcome = simulate(trace, park, policy)
    together: Counter[tuple[int, float, int]] = Counter()
    sizes = {}
    for unit, started, pool in zip(trace.units, outcome.started, outcome.pool, strict=True):
        if started is not None and "gang" in unit.document:
            together[unit.document["version"], started, pool] += 1
            sizes[unit.document["version"]] = unit.document["gang"]
    assert all(count % sizes[version] == 0 for (version, _, _), count in together.items())


@many
@given(traces(), parks())
def test_what_fits_a_pool_and_has_no_deadline_is_placed_by_the_planner_sooner_or_later(trace: Trace, park: Park) -> None:
    outcome = simulate(trace, park, OPTIMUM)
    for unit, started in zip(trace.units, outcome.started, strict=True):
        need = {name: amount * unit.document.get("gang", 1) for name, amount in needs_of(unit.document["need"]).items()}
        fits = any(all(amount <= declared_of(pool).get(name, 0) for name, amount in need.items()) for pool in park.pools)
        if fits and "deadline" not in unit.document:
            assert started is not None
        if not fits:
            assert started is None


def test_a_unit_that_comes_to_an_idle_pool_starts_at_once() -> None:
    outcome = simulate(a_trace((5.0, 10.0, a_need())), a_park(), OPTIMUM)
    assert outcome.started == [5.0]
    assert outcome.ended == [15.0]


def test_a_ninth_unit_starts_when_the_first_of_eight_cores_is_free() -> None:
    trace = a_trace(*[(0.0, 10.0 + n, a_need()) for n in range(9)])
    outcome = simulate(trace, a_park(), OPTIMUM)
    assert outcome.started[:8] == [0.0] * 8
    assert outcome.started[8] == 10.0


def test_rounds_are_a_gap_apart() -> None:
    trace = a_trace((0.0, 1.0, a_need()), (0.01, 1.0, a_need()), (0.03, 1.0, a_need()))
    outcome = simulate(trace, a_park(), OPTIMUM, Settings(gap_s=0.05))
    assert outcome.started == [0.0, 0.05, 0.05]
    assert len(outcome.rounds_s) == 2


def test_a_slow_pool_takes_longer_than_the_trace_says() -> None:
    outcome = simulate(a_trace((0.0, 10.0, a_need())), a_park(a_pool(mflops=250_000)), OPTIMUM)
    assert outcome.ended == [20.0]


def test_data_on_their_way_hold_the_core_and_cost_no_core_seconds() -> None:
    trace = a_trace((0.0, 10.0, a_need(bytes_in=1_000_000_000)))
    outcome = simulate(trace, a_park(), OPTIMUM)
    assert outcome.ended == [18.0]  # a gigabyte over a gigabit a second
    assert outcome.cost == [pytest.approx(10 * 0.0001)]


def test_a_unit_that_cannot_be_over_by_its_deadline_is_given_up() -> None:
    outcome = simulate(a_trace((0.0, 100.0, a_need(asked_s=100.0, deadline=50))), a_park(), OPTIMUM)
    figures = figures_of(outcome)
    assert outcome.started == [None]
    assert (figures.unplaced, figures.missed, figures.with_deadline) == (1, 1, 1)
    assert outcome.waiting[-1] == (50.0, 0)


def test_a_unit_for_which_no_pool_is_large_enough_stays_unplaced_and_the_simulation_ends() -> None:
    outcome = simulate(a_trace((0.0, 1.0, a_need(cores=9))), a_park(), OPTIMUM)
    assert figures_of(outcome).unplaced == 1


def test_estimates_follow_what_ended_units_took_unless_the_asked_time_is_believed() -> None:
    need, other = a_need(asked_s=1_000.0, objective="cheapest"), a_need(asked_s=1_000.0, objective="cheapest", deadline=400)
    trace = a_trace((0.0, 10.0, need), (100.0, 10.0, other))
    assert simulate(trace, a_park(), OPTIMUM, Settings(learn=True)).started[1] == 100.0
    assert simulate(trace, a_park(), OPTIMUM, Settings(learn=False)).started[1] is None


def test_a_policy_may_ask_for_another_objective() -> None:
    cheap, fast = a_pool(1, mflops=125_000), a_pool(2, mflops=2_000_000)
    park = a_park(cheap, fast)
    dear = Park(park.pools, {**park.prices, 2: type(park.prices[2])(2, {"core_second": 0.01})})
    trace = a_trace((0.0, 10.0, a_need(objective="cheapest")))
    assert simulate(trace, dear, OPTIMUM).pool == [1]
    assert simulate(trace, dear, policy_named("fastest")).pool == [2]


def test_figures_of_a_small_outcome_are_those_worked_out_by_hand() -> None:
    trace = a_trace(*[(0.0, 40.0, a_need(cores=8, asked_s=40.0))] * 2)
    figures = figures_of(simulate(trace, a_park(), OPTIMUM))
    assert (figures.wait_mean_s, figures.wait_max_s, figures.wait_p99_s) == (20.0, 40.0, 40.0)
    assert (figures.slowdown_mean, figures.slowdown_p99) == (1.5, 2.0)
    assert (figures.makespan_s, figures.utilisation) == (80.0, 1.0)
    assert figures.cost == pytest.approx(2 * 8 * 40 * 0.0001)
    assert figures.carbon_kg == pytest.approx(2 * 8 * 40 * 10 / 3.6e6 * 536.6 / 1e3)


def test_small_units_pass_a_large_one_for_a_while_only() -> None:
    machine = Machine(a_pool(cores=2))
    machine.add(Party((0,), 1, {"cores": 1.0}, 0.0))
    machine.add(Party((1,), 2, {"cores": 2.0}, 0.0))
    machine.add(Party((2,), 1, {"cores": 1.0}, 0.0))
    assert [party.units for party in machine.start(0.0)] == [(0,), (2,)]
    machine.end(1, {"cores": 1.0})
    machine.add(Party((3,), 1, {"cores": 1.0}, PATIENCE_S))
    assert machine.start(PATIENCE_S + 1) == []
    machine.end(1, {"cores": 1.0})
    assert [party.units for party in machine.start(PATIENCE_S + 2)] == [(1,)]


def test_only_so_many_units_are_looked_at_behind_one_that_does_not_fit() -> None:
    machine = Machine(a_pool(cores=1))
    for number in range(DEPTH):
        machine.add(Party((number,), 1, {"cores": 2.0}, 0.0))
    machine.add(Party((DEPTH,), 2, {"cores": 1.0}, 0.0))
    assert machine.start(0.0) == []
