"""The optimum of a round: against the program's own bound, against a naive filling, and in the cases people argue about."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.matching import ClassDecision, ClassState, PoolState, Snapshot, plan
from scheduler.matching.arcs import column
from scheduler.matching.goals import OBJECTIVES, impatience
from scheduler.matching.market import Bools, Market
from scheduler.matching.program import Program, least
from scheduler.matching.scalar import dominant_share, run_seconds, unit_price
from scheduler.matching.shares import dues, fill
from scheduler.matching.waiting import waits
from scheduler.network.values import Route
from scheduler.stored import snapshot_document, snapshot_from
from tests.scheduler.values import AT, PRICE, a_class, a_market, a_pool, markets

many = settings(max_examples=60, deadline=None)
HOUR = {"tflop": "225"}  # an hour on one core of the tests' pool


def units(decision: ClassDecision) -> dict[int, int]:
    return {placement.pool_id: placement.units for placement in decision.placements}


def placed(snapshot: Snapshot, **how: Any) -> list[dict[int, int]]:
    return [units(decision) for decision in plan(snapshot, **how).decisions]


def a_full_market(seed: int, load: float, classes: int = 40, pools: int = 12, objective: str = "fastest") -> Snapshot:
    """Hour-long units of many shapes that need `load` of all cores; every class fits only some pools."""
    chance = random.Random(seed)
    regions = [f"region-{n}" for n in range(6)]
    machines = [
        a_pool(n, region=chance.choice(regions), cores=chance.choice([16, 32, 64]), memory_mib=10**7, disk_mib=10**7)
        for n in range(1, pools + 1)
    ]
    left, listed = load * sum(pool.cores for pool in machines), list[ClassState]()
    while left > 0:
        cores, count = chance.choice([1, 1, 2, 4]), chance.randint(1, 12)
        wanted = sorted({pool.region for pool in machines}) if chance.random() < 0.3 else chance.sample(regions, 3)
        one = a_class(len(listed) + 1, count, cores=cores, regions=wanted, objective=objective, tflop=str(225 * cores))
        if any(pool.region in wanted for pool in machines):
            listed.append(one)
            left -= cores * count
    prices = {pool.id: {"core_second": chance.uniform(0.5, 2) * 3e-5} for pool in machines}
    return a_market(listed, machines, prices)


def cheapest_first(snapshot: Snapshot, seed: int) -> int:
    """Units placed by who takes for each unit, in random order, the cheapest pool with room: what most systems do."""
    chance, market = random.Random(seed), Market(snapshot)
    free = {name: columns.copy() for name, columns in market.free.items()}
    found = [column(one, market) for one in snapshot.classes]
    queue = [number for number, one in enumerate(snapshot.classes) for _ in range(one.waiting)]
    chance.shuffle(queue)
    done = 0
    for number in queue:
        one = found[number]
        for row in one.best(len(market)):
            if all(free[name][row] >= amount for name, amount in one.need.items()):
                for name, amount in one.need.items():
                    free[name][row] -= amount
                done += 1
                break
    return done


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("load", [0.7, 0.95])
def test_a_round_costs_at_most_a_hundredth_more_than_any_plan_could(seed: int, load: float) -> None:
    decided = plan(a_full_market(seed, load))
    assert decided.decided_by == "optimum"
    assert decided.bound <= decided.cost * (1 + 1e-9)
    assert decided.cost <= decided.bound * 1.01


@pytest.mark.parametrize("seed", range(3))
def test_where_the_cheapest_first_leaves_units_out_the_optimum_places_more(seed: int) -> None:
    snapshot = a_full_market(seed, 0.95)
    waiting = sum(one.waiting for one in snapshot.classes)
    naive, found = cheapest_first(snapshot, seed), sum(sum(each.values()) for each in placed(snapshot))
    assert found > naive
    assert waiting - found <= (waiting - naive) * 0.7


@many
@given(markets())
def test_the_columns_say_what_one_unit_on_one_pool_does(snapshot: Snapshot) -> None:
    market = Market(snapshot)
    for one in snapshot.classes:
        found = column(one, market)
        for row, pool in enumerate(market.pools):
            run_s = run_seconds(one.document, pool, {})
            assert found.run_s[row] == pytest.approx(run_s)
            rates = snapshot.offers[pool.id, AT].rates if (pool.id, AT) in snapshot.offers else {}
            assert found.price[row] == pytest.approx(unit_price(one.document, rates, run_s))
            if found.fits[row]:
                assert found.share[row] == pytest.approx(dominant_share(one.document["need"], pool))


@many
@given(markets(), st.sampled_from(["optimum", "greedy"]))
def test_a_stored_round_decides_the_same_byte_for_byte(snapshot: Snapshot, by: str) -> None:
    stored = json.loads(json.dumps(snapshot_document(snapshot)))
    again = snapshot_from(stored, {one.need_id: one.document for one in snapshot.classes})
    assert json.dumps(snapshot_document(again)) == json.dumps(snapshot_document(snapshot))
    first, second = plan(snapshot, by=by), plan(again, by=by)
    assert repr(first) == repr(second)


def test_the_program_has_a_row_only_for_what_a_class_could_take_at_a_pool() -> None:
    free, full = a_pool(1, accelerators=(("a100", 2),)), a_pool(2, shares=1.0)
    market = Market(a_market([a_class(1, 9, **HOUR)], [free, full]))  # for hours: nothing is fetched ahead
    found = [column(each, market) for each in market.snapshot.classes]
    program = Program(found, market, waits(found, market))
    assert program.entries.rows == 1 + 1  # its units, and the cores of the pool that has some left


def test_the_least_along_an_axis_are_finite_and_of_equals_the_first() -> None:
    table = np.array([[2.0, 1.0, 1.0, np.inf], [np.inf, 5.0, np.inf, np.inf]])
    assert least(table, 2, axis=1).tolist() == [[False, True, True, False], [False, True, False, False]]
    assert least(table, 1, axis=0).tolist() == [[True, True, True, False], [False, False, False, False]]


@many
@given(markets())
def test_columns_made_on_demand_reach_the_value_of_the_program_with_all_ways(snapshot: Snapshot) -> None:
    market = Market(snapshot)
    found = [one for one in (column(each, market) for each in snapshot.classes) if one.fits.any()]
    if not found:
        return
    waiting = waits(found, market)
    owed = dues(found, market, snapshot.used, waiting.costs)
    whole, made = EveryWay(found, market, waiting, owed).solve(60), Program(found, market, waiting, owed).solve(60)
    assert made.bound <= whole.bound * (1 + 1e-6) + 1e-9
    assert made.bound >= whole.bound * (1 - 2e-3) - 1e-9


class EveryWay(Program):
    """The program with all ways from the beginning."""

    def _first(self, kind: int) -> Bools:
        every: Bools = self.open[kind].copy()
        return every


@many
@given(markets(), st.integers(0, 7))
def test_a_pool_more_never_makes_the_optimum_dearer(snapshot: Snapshot, which: int) -> None:
    """Of the same waiting, valued the same: a way more can only help."""
    if len(snapshot.pools) < 2:
        return
    market = Market(snapshot)
    found = [one for one in (column(each, market) for each in snapshot.classes) if one.fits.any()]
    if not found:
        return
    waiting = waits(found, market)
    gone = which % len(market)
    kept = [replace(one, fits=one.fits.copy()) for one in found]
    for one in kept:
        one.fits[gone] = False
    if not all(one.fits.any() for one in kept):
        return
    whole, fewer = (Program(each, market, waiting).solve(60).bound for each in (found, kept))
    assert whole <= fewer * (1 + 2e-4) + 1e-12


def test_when_the_time_box_is_up_the_plan_says_that_it_was_filled_greedily() -> None:
    decided = plan(a_full_market(1, 0.9), time_box_s=0.0)
    assert decided.decided_by == "greedy"
    assert any(decision.placements for decision in decided.decisions)


# Objectives.


def test_who_asks_for_the_greenest_goes_where_the_power_is_clean_and_pays_for_it() -> None:
    dirty, clean = a_pool(1, region="hebei"), a_pool(2, region="yunnan")
    prices = {1: {"core_second": 0.00001}, 2: {"core_second": 0.00002}}
    for objective, pool in (("cheapest", 1), ("greenest", 2)):
        market = a_market([a_class(objective=objective, **HOUR)], [dirty, clean], prices)
        assert placed(replace(market, carbon={"hebei": 725.2, "yunnan": 107.3})) == [{pool: 1}]


def test_balanced_trades_an_hour_against_a_yuan() -> None:
    slow, fast = a_pool(1, mflops=500_000), a_pool(2, mflops=1_000_000)  # an hour, or half of one
    for extra, pool in ((0.4, 2), (0.6, 1)):
        prices = {1: {"result": 0.1}, 2: {"result": 0.1 + extra}}
        assert placed(a_market([a_class(objective="balanced", **HOUR)], [slow, fast], prices)) == [{pool: 1}]


def test_own_weights_win_over_the_objective() -> None:
    slow, fast = a_pool(1, mflops=500_000), a_pool(2, mflops=1_000_000)
    prices = {1: {"result": 0.1}, 2: {"result": 0.2}}
    hurried = a_class(objective="cheapest", weights={"hour": "50.0", "price": "1.0"}, **HOUR)
    assert placed(a_market([hurried], [slow, fast], prices)) == [{2: 1}]


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_waiting_never_becomes_cheaper_with_age(one: float, other: float) -> None:
    assert (impatience(one) <= impatience(other)) == (one <= other) or impatience(one) == impatience(other)


def test_of_two_equal_classes_the_one_that_has_waited_longer_goes_first() -> None:
    pool = a_pool(cores=1)
    young, old = a_class(1, 5, **HOUR), replace(a_class(2, 5, **HOUR), age_s=3600.0)
    first, second = placed(a_market([young, old], [pool]))
    assert (sum(first.values()), sum(second.values())) == (0, 1)


def test_a_pool_that_is_often_wrong_must_be_cheaper_by_what_running_again_costs() -> None:
    sure, shaky = a_pool(1), a_pool(2)
    for price, pool in ((0.9, 1), (0.7, 2)):
        market = a_market([a_class(**HOUR)], [sure, shaky], {1: {"result": 1.0}, 2: {"result": price}})
        assert placed(replace(market, trust={(2, 1): 0.5})) == [{pool: 1}]


def test_a_newcomer_has_the_benefit_of_the_doubt() -> None:
    known, new = a_pool(1), a_pool(2)
    market = a_market([a_class(**HOUR)], [known, new], {1: {"result": 1.0}, 2: {"result": 0.99}})
    assert placed(replace(market, trust={(1, 1): 0.99})) == [{2: 1}]


def test_a_trust_floor_counts_what_is_known_and_a_probation_what_is_checked() -> None:
    known, new, caught = a_pool(1), a_pool(2), a_pool(3, probation=True)
    market = replace(a_market([a_class(min_trust="0.9", **HOUR)], [known, new, caught]), trust={(1, 1): 0.95, (3, 1): 0.95})
    (decision,) = plan(market).decisions
    assert (units(decision), decision.excluded) == ({1: 1}, {"trust": 2})
    assert placed(a_market([a_class(verified=True, **HOUR)], [caught])) == [{3: 1}]


def test_replicas_of_a_unit_never_meet_at_one_owner() -> None:
    pools = [a_pool(1), a_pool(2)]
    (decision,) = plan(a_market([replace(a_class(**HOUR), apart=(1,))], pools)).decisions
    assert (units(decision), decision.excluded) == ({2: 1}, {"distinct_owner": 1})
    (decision,) = plan(a_market([replace(a_class(**HOUR), apart=(1, 2))], pools)).decisions
    assert (units(decision), decision.excluded) == ({}, {"distinct_owner": 2})


def test_work_that_needs_no_accelerator_leaves_the_accelerators_to_others_at_equal_price() -> None:
    with_gpu, without = a_pool(1, accelerators=(("a100", 8),)), a_pool(2)
    assert placed(a_market([a_class(**HOUR)], [with_gpu, without])) == [{2: 1}]


# The way of the data.


def routes(**between: tuple[float, float, float]) -> dict[tuple[str, str], Route]:
    """`a_b=(latency_s, mbps, price per GB)`, both ways."""
    found = {}
    for name, (latency_s, mbps, price) in between.items():
        one, other = name.split("_")
        found[one, other] = found[other, one] = Route(latency_s, mbps, price)
    return found


FAR = {"bytes_in": 10**10, "inputs": [["data", 10**10]], "store": "shanghai"}


def test_work_goes_to_its_data_when_moving_them_costs_more_than_the_dearer_pool() -> None:
    here, there = a_pool(1, region="ningxia", bandwidth_mbps=10**5), a_pool(2, region="gansu", bandwidth_mbps=10**5)
    for egress, pool in ((0.001, 1), (0.2, 2)):
        market = a_market([a_class(**FAR, **HOUR)], [here, there], {1: {"result": 1.0}, 2: {"result": 2.0}})
        ways = routes(gansu_ningxia=(0.02, 1000, egress), shanghai_ningxia=(0.02, 10, 1), shanghai_gansu=(0.02, 10, 1))
        assert placed(replace(market, routes=ways, places={"data": ("gansu",)})) == [{pool: 1}]


def test_of_several_copies_the_one_that_arrives_first_counts() -> None:
    pool = a_pool(1, region="ningxia", bandwidth_mbps=10**6)
    ways = routes(gansu_ningxia=(0.05, 1000, 0), beijing_ningxia=(0.01, 100, 0))
    market = replace(a_market([a_class(**FAR | {"store": ""})], [pool]), routes=ways)
    for places, seconds in ((("beijing",), 800.01), (("beijing", "gansu"), 80.05), (("ningxia",), 0.08)):
        found = column(market.classes[0], Market(replace(market, places={"data": places})))
        assert found.transfer_s[0] == pytest.approx(seconds, abs=1e-6)


def test_what_a_pool_has_cached_is_not_moved() -> None:
    cold, warm = a_pool(1), a_pool(2)
    market = a_market([a_class(**FAR | {"store": ""}, objective="fastest")], [cold, warm])
    assert placed(replace(market, cached=frozenset({(2, "data")}))) == [{2: 1}]


def test_links_carry_no_more_than_they_can_until_the_next_round() -> None:
    pool = a_pool(1, region="ningxia", cores=64)
    ways = {("shanghai", "ningxia"): Route(0.01, 10_000, links=(7,))}
    market = replace(a_market([a_class(1, 50, **FAR | {"inputs": []}, **HOUR)], [pool]), routes=ways, slack={7: 35e9})
    assert placed(market) == [{1: 3}]


def test_a_class_of_jitter_is_only_met_where_the_way_is_steady_enough() -> None:
    near, far, unknown = a_pool(1, region="gansu"), a_pool(2, region="xinjiang"), a_pool(3, region="tianjin")
    steady = {("ningxia", "gansu", 2): Route(0.005, 1000, jitter_class=1), ("ningxia", "xinjiang", 3): Route(0.03, 1000)}
    wanted = a_class(network={"from": "ningxia", "jitter_class": 2})
    (decision,) = plan(replace(a_market([wanted], [near, far, unknown]), steady=steady)).decisions
    assert units(decision) == {1: 1}
    assert decision.excluded == {"network": 2}


# Deadlines, gangs, reservations.


def test_a_deadline_leaves_out_pools_on_which_nine_of_ten_would_be_late() -> None:
    slow, fast = a_pool(1, mflops=250_000), a_pool(2, mflops=2_000_000)
    prices = {1: {"core_second": 1e-6}, 2: {"core_second": 1e-3}}
    market = replace(a_market([a_class(deadline=1_000_000 + 2000, **HOUR)], [slow, fast], prices), at=1_000_000.0)
    (decision,) = plan(market).decisions
    assert (units(decision), decision.excluded) == ({2: 1}, {"deadline": 1})


def test_what_cannot_wait_without_missing_its_deadline_goes_before_what_can() -> None:
    pool = a_pool(cores=1)
    patient = replace(a_class(1, 3, objective="fastest", **HOUR), age_s=5000.0)
    urgent = a_class(2, 1, objective="cheapest", deadline=1_000_000 + 904, **HOUR)
    first, second = placed(replace(a_market([patient, urgent], [pool]), at=1_000_000.0))
    assert (first, second) == ({}, {1: 1})


def test_a_gang_starts_together_on_one_pool_or_not_at_all() -> None:
    small, large = a_pool(1, cores=6), a_pool(2, cores=8, shares=0.25, backlog_s=60)
    gang = a_class(1, 8, gang=8, **HOUR)
    assert placed(a_market([gang], [small, large])) == [{}]
    assert placed(a_market([gang], [small, replace(large, shares=0.0)])) == [{2: 8}]
    (decision,) = plan(a_market([gang], [small])).decisions
    assert decision.excluded == {"gang": 1}


def test_around_a_gangs_reservation_only_what_is_over_in_time_is_filled_in() -> None:
    busy = a_pool(1, cores=8, shares=0.5, backlog_s=600)
    gang, short, long = a_class(1, 8, gang=8, **HOUR), a_class(2, 2, tflop="10"), a_class(3, 2, **HOUR)
    assert placed(a_market([gang, short, long], [busy])) == [{}, {1: 2}, {}]
    assert placed(a_market([long], [busy])) == [{1: 2}]


def test_a_large_unit_that_has_waited_past_the_age_bound_gets_a_reservation() -> None:
    busy = a_pool(1, cores=8, shares=0.5, backlog_s=600)
    large, long = a_class(1, 1, cores=8, **HOUR), a_class(2, 9, **HOUR)
    assert placed(a_market([large, long], [busy]))[1] == {1: 4}
    assert placed(a_market([replace(large, age_s=90_000.0), long], [busy]), age_bound_s=86_400.0)[1] == {}
    assert placed(a_market([replace(large, age_s=90_000.0), long], [busy]), age_bound_s=100_000.0)[1] == {1: 4}


def test_what_has_waited_past_the_age_bound_takes_the_place_that_came_free_before_younger_ones_worth_more() -> None:
    free = a_pool(1, cores=8)
    wide, narrow = a_class(1, 2, cores=8, **HOUR), a_class(2, 8, tflop="10")
    aged = replace(wide, age_s=90_000.0)
    assert placed(a_market([wide, narrow], [free])) == [{}, {1: 8}]
    assert placed(a_market([aged, narrow], [free]), age_bound_s=86_400.0) == [{1: 1}, {}]
    younger = placed(a_market([aged, narrow], [free]), age_bound_s=100_000.0)
    assert younger == placed(a_market([aged, narrow], [free]), age_bound_s=1e9)


# Fair shares and budgets.


@given(st.dictionaries(st.text("abc", min_size=1), st.floats(0, 1), min_size=1), st.floats(0, 2))
def test_filling_gives_nobody_more_than_it_wants_and_equal_shares_to_who_wants_more(wants: dict[str, float], supply: float) -> None:
    given_ = fill(wants, supply)
    assert all(given_[name] <= wants[name] + 1e-9 for name in wants)
    assert sum(given_.values()) <= supply + 1e-9
    assert sum(given_.values()) == pytest.approx(min(supply, sum(wants.values())), abs=1e-9)
    unmet = [given_[name] for name in wants if given_[name] < wants[name] - 1e-9]
    assert all(value == pytest.approx(max(given_.values())) for value in unmet)


def test_when_there_is_not_enough_two_organizations_share_equally_however_much_one_asks() -> None:
    pool = a_pool(cores=16)
    crowd, one = a_class(1, 1000, organization="crowd", **HOUR), a_class(2, 16, organization="one", **HOUR)
    first, second = placed(a_market([crowd, one], [pool]))
    assert (first, second) == ({1: 8}, {1: 8})


def test_who_holds_its_share_already_lets_the_other_go_first() -> None:
    pool = a_pool(cores=16, shares=0.5, backlog_s=1800)
    crowd, one = a_class(1, 1000, organization="crowd", **HOUR), a_class(2, 16, organization="one", **HOUR)
    first, second = placed(replace(a_market([crowd, one], [pool]), used={"crowd": 0.5}))
    assert (first, second) == ({}, {1: 8})


def test_an_organization_gets_no_further_than_its_budget() -> None:
    market = a_market([a_class(1, 50, organization="acme", **HOUR)], [a_pool(cores=64)], {1: {"result": 1.0}})
    assert placed(replace(market, budgets={"acme": 3.5})) == [{1: 3}]


# Prices of being full.


def test_a_full_pool_has_a_price_and_one_with_room_has_none() -> None:
    cheap, dear = a_pool(1, cores=2, mflops=125_000), a_pool(2, cores=64, mflops=4_000_000)
    prices = {1: {"core_second": 1e-5}, 2: {"core_second": 2e-5}}
    decided = plan(a_market([a_class(1, 10, objective="fastest", **HOUR)], [cheap, dear], prices))
    assert set(decided.duals) == {(1, "cores")}
    assert decided.duals[1, "cores"] == pytest.approx(3600 * 1e-5, rel=1e-3)  # what the dearer pool asks more for the hour


def test_every_objective_is_known_to_the_task() -> None:
    from marketplace.models import Task

    assert set(Task.Objective.values) == set(OBJECTIVES)


def test_prices_of_the_tests_are_what_the_builders_say() -> None:
    pool: PoolState = a_pool()
    assert a_market([a_class()], [pool]).offers[1, AT].rates == PRICE


# Pools that close.


@pytest.mark.parametrize(("closes_in_s", "expected"), [(None, 2), (100.0, 2), (80.0, 1), (50.0, 0)])
def test_no_more_units_are_given_one_after_the_other_than_are_over_when_the_pool_closes(
    closes_in_s: float | None, expected: int
) -> None:
    pool = a_pool(cores=1, closes_in_s=closes_in_s)  # half a TFLOPS: 30 s each, 60 s at P90, one fetched ahead
    assert sum(placed(a_market([a_class(1, 9, tflop="15")], [pool]))[0].values()) == expected
