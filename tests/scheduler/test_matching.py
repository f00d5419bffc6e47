"""Which pool gets how many units: what holds for every market, and what a reader would expect of small ones."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.matching import (
    DIMENSIONS,
    ClassDecision,
    PoolState,
    Snapshot,
    decide,
    feasible_arcs,
    plan,
)
from scheduler.matching.arcs import column
from scheduler.matching.gangs import free_in
from scheduler.matching.market import TURN_S, Market
from scheduler.matching.ways import ahead_limit, fetchable
from tests.scheduler.values import PRICE, a_class, a_market, a_pool, markets

many = settings(max_examples=60, deadline=None)


def units_by_pool(decision: ClassDecision) -> dict[int, int]:
    return {placement.pool_id: placement.units for placement in decision.placements}


def only(snapshot: Snapshot) -> ClassDecision:
    (decision,) = decide(snapshot)
    return decision


def plan_of(snapshot: Snapshot) -> list[Any]:
    """What a round decides, the order of its parts apart."""
    return [
        (d.need_id, d.avoid, sorted(units_by_pool(d).items()), d.candidates, dict(d.excluded)) for d in decide(snapshot)
    ]


@many
@given(markets(), st.sampled_from(["optimum", "greedy"]))
def test_no_pool_is_given_more_than_is_free_and_a_bit_ahead(snapshot: Snapshot, by: str) -> None:
    market = Market(snapshot)
    held: dict[tuple[int, str], float] = {}
    ahead: dict[int, float] = {}
    for one, decision in zip(snapshot.classes, plan(snapshot, by=by).decisions, strict=True):
        found = column(one, market)
        for placement in decision.placements:
            row = market.row[placement.pool_id]
            for name, amount in found.need.items():
                held[row, name] = held.get((row, name), 0.0) + amount * (placement.units - placement.ahead)
            if placement.ahead:
                use = found.share[row] / ahead_limit(found.run_s)[row]
                ahead[row] = ahead.get(row, market.ahead[row]) + placement.ahead * use
    assert all(amount <= market.free[name][row] + 1e-6 for (row, name), amount in held.items())
    assert all(taken <= 1 + 1e-6 for taken in ahead.values())


@many
@given(markets())
def test_a_pool_never_gets_a_unit_that_does_not_fit_it(snapshot: Snapshot) -> None:
    by_id = {pool.id: pool for pool in snapshot.pools}
    for one, decision in zip(snapshot.classes, decide(snapshot), strict=True):
        doc = one.document
        for pool_id in units_by_pool(decision):
            pool = by_id[pool_id]
            assert doc["need"]["cores"] <= pool.cores
            assert doc["need"]["memory_mib"] <= pool.memory_mib
            assert doc["need"]["disk_mib"] <= pool.disk_mib
            assert not doc["need"]["accelerators"] or pool.accelerators
            assert not doc["regions"] or pool.region in doc["regions"]
            assert pool.provider not in doc["exclude_providers"]
            assert doc["trusted"] or "sandbox" in pool.executors


@many
@given(markets())
def test_no_more_is_placed_than_waits_and_something_is_where_somebody_has_room(snapshot: Snapshot) -> None:
    idle = replace_pools(snapshot, shares=0.0, backlog_s=0.0)
    decisions = decide(idle)
    for one, decision in zip(idle.classes, decisions, strict=True):
        assert sum(units_by_pool(decision).values()) <= one.waiting
        assert all(units > 0 for units in units_by_pool(decision).values())
    assert any(d.placements for d in decisions) == any(feasible_arcs(one, idle)[0] for one in idle.classes)


@many
@given(markets())
def test_every_pool_is_a_candidate_or_left_out_for_one_known_reason(snapshot: Snapshot) -> None:
    for one in snapshot.classes:
        arcs, excluded = feasible_arcs(one, snapshot)
        assert len(arcs) + sum(excluded.values()) == len(snapshot.pools)
        assert len({arc.pool.id for arc in arcs}) == len(arcs)
        assert set(excluded) <= set(DIMENSIONS)
        assert all(excluded.values())


@many
@given(markets(), st.randoms(use_true_random=False))
def test_the_order_in_which_pools_are_read_does_not_matter(snapshot: Snapshot, chance: random.Random) -> None:
    pools = list(snapshot.pools)
    chance.shuffle(pools)
    assert plan_of(replace(snapshot, pools=pools)) == plan_of(snapshot)


@many
@given(markets())
def test_the_same_market_is_decided_the_same_way_again(snapshot: Snapshot) -> None:
    assert decide(snapshot) == decide(snapshot)


@given(st.permutations([1, 2, 3]))
def test_classes_that_share_no_pool_do_not_depend_on_their_order(order: list[int]) -> None:
    regions = {1: "ningxia", 2: "gansu", 3: "shanghai"}
    pools = [a_pool(n, region=region) for n, region in regions.items()]
    classes = {n: a_class(n, 100, regions=[region]) for n, region in regions.items()}

    turned = plan_of(a_market([classes[n] for n in order], pools))

    assert sorted(turned, key=lambda one: one[0]) == plan_of(a_market([classes[n] for n in (1, 2, 3)], pools))


def test_the_older_class_is_served_first_when_there_is_not_enough_for_both() -> None:
    pool = a_pool(cores=1)
    older, younger = decide(a_market([a_class(7, 50), a_class(3, 50)], [pool]))
    assert units_by_pool(older)
    assert not units_by_pool(younger)


# Every way in which a pool may not fit, in the order of the fixed precedence: (dimension, pool, need).
FAULTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("architecture", {"instruction_set": "riscv64"}, {"variants": [{"instruction_set": "x86_64", "accelerator": None}]}),
    ("accelerator", {}, {"accelerators": [{"model": "a100", "count": 1}]}),
    ("cores", {"cores": 1}, {"cores": 2}),
    ("memory", {"memory_mib": 10}, {"memory_mib": 11}),
    ("disk", {"disk_mib": 10}, {"disk_mib": 11}),
    ("region", {"region": "gansu"}, {"regions": ["ningxia", "shanghai"]}),
    ("provider", {"provider": "mallorys"}, {"exclude_providers": ["mallorys"]}),
    ("policy", {"deny": ("acme",)}, {}),
    ("trust", {"executors": ("process",)}, {"trusted": False}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)), ids=[fault[0] for fault in FAULTS])
def test_a_pool_with_many_faults_counts_for_the_first_of_them(first: int) -> None:
    pool: dict[str, Any] = {}
    need: dict[str, Any] = {}
    for _, of_pool, of_need in FAULTS[first:]:
        pool, need = pool | of_pool, need | of_need
    one = a_class(cap="0", **need)

    arcs, excluded = feasible_arcs(one, a_market([one], [a_pool(**pool)], {1: {}}))

    assert not arcs
    assert excluded == {FAULTS[first][0]: 1}


def test_the_order_of_precedence_is_the_one_that_is_written_down() -> None:
    named = [fault[0] for fault in FAULTS]
    assert [dimension for dimension in DIMENSIONS if dimension in named] == named


@pytest.mark.parametrize(
    ("pool", "need", "dimension"),
    [
        ({"provider": "mallorys"}, {"providers": ["bobs-pools"]}, "provider"),
        ({"allow": ("others",)}, {}, "policy"),
        ({"allow": ("acme",)}, {}, None),
        ({"accelerators": (("a100", 2),)}, {"accelerators": [{"model": "a100", "count": 2}]}, None),
        ({"accelerators": (("a100", 2),)}, {"accelerators": [{"model": "a100", "count": 3}]}, "accelerator"),
        ({"accelerators": (("v100", 2),)}, {"accelerators": [{"model": "a100", "count": 1}]}, "accelerator"),
        ({"executors": ("process",)}, {"trusted": True}, None),
        ({}, {"trusted": False}, None),
    ],
)
def test_constraints_admit_and_refuse(pool: dict[str, Any], need: dict[str, Any], dimension: str | None) -> None:
    one = a_class(**need)
    _, excluded = feasible_arcs(one, a_market([one], [a_pool(**pool)]))
    assert excluded == ({} if dimension is None else {dimension: 1})


def test_a_pool_without_an_offer_at_that_moment_is_left_out() -> None:
    decision = only(a_market([a_class()], [a_pool(1), a_pool(2)], {1: {}}))
    assert units_by_pool(decision) == {2: 1}
    assert decision.excluded == {"offer": 1}


def test_equal_pools_are_told_apart_by_identifier() -> None:
    pools = [a_pool(1, identifier="zzz"), a_pool(2, identifier="aaa"), a_pool(3, identifier="mmm")]
    decision = only(a_market([a_class()], pools))
    assert units_by_pool(decision) == {2: 1}
    assert [candidate["pool"] for candidate in decision.candidates] == ["aaa", "mmm", "zzz"]


@pytest.mark.parametrize(("objective", "winner"), [("cheapest", 1), ("fastest", 2)])
def test_the_cheapest_prefers_the_cheap_pool_and_the_fastest_the_fast_one(objective: str, winner: int) -> None:
    slow_and_cheap = a_pool(1, mflops=100_000)
    fast_and_dear = a_pool(2, mflops=2_000_000)
    prices = {1: {"result": 0.0001}, 2: {"result": 0.001}}

    decision = only(a_market([a_class(objective=objective)], [slow_and_cheap, fast_and_dear], prices))

    assert units_by_pool(decision) == {winner: 1}
    assert len(decision.candidates) == 2


def test_a_pool_with_a_queue_loses_to_an_idle_one_of_the_same_price() -> None:
    decision = only(a_market([a_class()], [a_pool(1, backlog_s=60, shares=1.0), a_pool(2)]))
    assert units_by_pool(decision) == {2: 1}


def test_far_data_makes_a_pool_with_a_thin_line_the_second_choice() -> None:
    thin, wide = a_pool(1, bandwidth_mbps=10), a_pool(2, bandwidth_mbps=10_000)
    decision = only(a_market([a_class(bytes_in=10**9)], [thin, wide]))
    assert units_by_pool(decision) == {2: 1}
    assert {c["pool"]: c["transfer_s"] for c in decision.candidates} == {"pool-001": 800.0, "pool-002": 0.8}


@pytest.mark.parametrize(
    ("cap", "fee", "fits"),
    [("0.3", "0", True), ("0.299999", "0", False), ("0.4", "0.1", True), ("0.399999", "0.1", False)],
)
def test_a_price_up_to_the_cap_fits_the_publishers_fee_included(cap: str, fee: str, fits: bool) -> None:
    one = a_class(cap=cap, fee=fee)
    prices = {1: {"result": 0.1, "core_second": 0.0, "fp32_tflop": 2.0}}  # 0.1 + 2 x 0.1 TFLOP: not 0.3 in floats
    arcs, excluded = feasible_arcs(one, a_market([one], [a_pool()], prices))
    assert bool(arcs) == fits
    assert excluded == ({} if fits else {"price": 1})


def test_every_basis_is_priced_by_what_it_counts() -> None:
    rates = {"core_second": 1.0, "accelerator_second": 10.0, "fp32_tflop": 100.0, "gb_moved": 1000.0, "result": 10_000.0}
    pool = a_pool(cores=8, mflops=400_000, accelerators=(("a100", 4),))
    need = {"cores": 2, "accelerators": [{"model": "a100", "count": 3}], "tflop": "0.2", "bytes_in": 2 * 10**9}
    decision = only(a_market([a_class(**need)], [pool], {1: rates}))
    (candidate,) = decision.candidates
    assert candidate["run_s"] == 2.0  # 0.2 TFLOP at a quarter of 0.4 TFLOPS
    assert candidate["price"] == pytest.approx(2 * 2 * 1 + 2 * 3 * 10 + 0.2 * 100 + 2 * 1000 + 10_000)
    assert candidate["cost"] == pytest.approx(candidate["price"] + candidate["time_cost"])


def test_units_keep_away_from_pools_that_failed_them_while_another_could_take_them() -> None:
    cheap, dear = a_pool(1), a_pool(2)
    prices = {1: PRICE, 2: {"core_second": 1.0}}
    decision = only(a_market([a_class(avoid=[1])], [cheap, dear], prices))
    assert units_by_pool(decision) == {2: 1}
    assert decision.excluded == {"failed_before": 1}


def test_units_return_to_a_pool_that_failed_them_when_there_is_no_other() -> None:
    decision = only(a_market([a_class(avoid=[1, 9])], [a_pool(1), a_pool(2, cores=1)], {2: {}}))
    assert units_by_pool(decision) == {1: 1}
    assert decision.excluded == {"offer": 1}


def test_the_best_five_candidates_are_kept_with_every_term() -> None:
    pools = [a_pool(n) for n in range(1, 9)]
    prices = {n: {"core_second": 0.001 / n} for n in range(1, 9)}
    decision = only(a_market([a_class()], pools, prices))
    assert [c["pool"] for c in decision.candidates] == [f"pool-{n:03d}" for n in (8, 7, 6, 5, 4)]
    for candidate in decision.candidates:
        assert candidate["finish_s"] == candidate["wait_s"] + candidate["transfer_s"] + candidate["run_s"]


def test_a_class_that_fits_nowhere_is_a_decision_with_reasons() -> None:
    decision = only(a_market([a_class(cores=100)], [a_pool(1), a_pool(2), a_pool(3, region="gansu", cores=99)]))
    assert decision.placements == ()
    assert decision.excluded == {"cores": 3}


def replace_pools(snapshot: Snapshot, **fields: Any) -> Snapshot:
    return replace(snapshot, pools=[replace(pool, **fields) for pool in snapshot.pools])


# What is fetched ahead should start soon, or it stands first in its pool's line and everybody waits behind it.


def a_busy_pool(run_s: float, units: int = 8, cores: int = 1) -> PoolState:
    """Eight cores, all of them held by units of this length."""
    held = (("cores", float(units * cores)), ("memory_mib", 64.0 * units))
    return replace(a_pool(), shares=1.0, backlog_s=run_s, held=held, running=((run_s, held),))


def ahead_at(pool: PoolState, **need: Any) -> int:
    return sum(placement.ahead for placement in only(a_market([a_class(1, 100, **need)], [pool])).placements)


def test_a_short_unit_is_fetched_ahead_to_a_pool_of_short_units() -> None:
    assert ahead_at(a_busy_pool(10.0)) > 0


def test_a_short_unit_waits_where_any_pool_may_take_it_while_a_pool_is_busy_for_hours() -> None:
    assert ahead_at(a_busy_pool(36_000.0)) == 0


def test_a_wide_unit_does_not_get_in_line_for_the_little_that_comes_free() -> None:
    assert ahead_at(a_busy_pool(240.0)) > 0  # a quarter of the eight cores within a minute
    assert ahead_at(a_busy_pool(240.0), cores=4) == 0


@many
@given(
    st.lists(st.tuples(st.floats(0.1, 10**5), st.integers(1, 16)), min_size=1, max_size=4),
    st.integers(1, 64),
    st.sampled_from(["0.001", "0.1", "5"]),
)
def test_whoever_is_fetched_ahead_finds_room_within_a_turn(running: list[tuple[float, int]], cores: int, tflop: str) -> None:
    total = sum(amount for _, amount in running)
    groups = tuple(sorted((run_s, (("cores", float(amount)),)) for run_s, amount in running))
    pool = replace(a_pool(cores=64), shares=1.0, backlog_s=60.0, held=(("cores", float(min(total, 64))),), running=groups)
    found = column(a_class(1, 9, cores=cores, tflop=tflop), Market(a_market([a_class(1, 9, cores=cores, tflop=tflop)], [pool])))
    need = found.need_at(0)
    start_s = free_in(pool, need, {name: float(found.market.free[name][0]) for name in need})
    enough = cores <= total + 64 - min(total, 64)  # else it would only start once more is free than is known of
    assert not fetchable(found)[0] or (enough and start_s <= TURN_S + 0.001)
