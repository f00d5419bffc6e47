"""Whether a unit waits for a cheap pool that is full, or goes to a dear one that is free."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.matching import ClassState, PoolState, Prices, Snapshot, decide
from scheduler.matching.goals import OBJECTIVES

WEST = PoolState(1, "west", "ningxia", "bob", "x86_64", 2, 4096, 4096, (), ("process",), 200_000, 100)
EAST = replace(WEST, id=2, identifier="east", region="shanghai")
RUN_S = 10.0


def need(objective: str) -> dict[str, Any]:
    return {
        "version": 1, "stage": 0, "need": {"cores": 1, "memory_mib": 64, "disk_mib": 64, "accelerators": []},
        "variants": [{"instruction_set": "any", "accelerator": None}], "tflop": "1", "run_s": 3600, "bytes_in": 0,
        "organization": "acme", "trusted": True, "objective": objective, "regions": [], "providers": [],
        "exclude_providers": [], "cap": None, "fee": "0", "offers_at": "now",
    }  # fmt: skip


def placed(objective: str, waiting: int, west: float, east: float, *, backlog_s: float = 0) -> dict[str, int]:
    """Units by pool, at these prices per core-second; each takes RUN_S on one of two cores."""
    offers = {(1, "now"): Prices(1, {"core_second": west}), (2, "now"): Prices(2, {"core_second": east})}
    pools = [replace(EAST), replace(WEST, shares=2.0 if backlog_s else 0.0, backlog_s=backlog_s)]
    (decision,) = decide(Snapshot([ClassState(1, need(objective), waiting)], pools, offers))
    names = {1: "west", 2: "east"}
    return {names[p.pool_id]: p.units for p in decision.placements}


def test_the_cheapest_pool_gets_everything_even_when_the_rest_has_to_wait() -> None:
    assert placed("cheapest", 30, west=0.00002, east=0.00007) == {"west": 4}


def test_who_is_in_a_hurry_uses_both() -> None:
    assert placed("fastest", 40, west=0.00002, east=0.00007) == {"west": 4, "east": 4}


def test_a_queue_that_costs_more_than_the_dearer_pool_sends_units_there() -> None:
    difference = (0.00007 - 0.00002) * RUN_S
    patience_s = difference / OBJECTIVES["cheapest"].hour * 3600
    assert placed("cheapest", 1, west=0.00002, east=0.00007, backlog_s=patience_s * 0.9) == {}
    assert placed("cheapest", 1, west=0.00002, east=0.00007, backlog_s=patience_s * 1.1) == {"east": 1}


def test_what_waits_for_a_pool_delays_the_classes_behind_it() -> None:
    offers = {(1, "now"): Prices(1, {"core_second": 0.00002}), (2, "now"): Prices(2, {"core_second": 0.00007})}
    crowd, late = ClassState(1, need("cheapest"), 10_000), ClassState(2, need("cheapest"), 1)
    first, second = decide(Snapshot([crowd, late], [EAST, WEST], offers))
    assert sum(p.units for p in first.placements) == 8
    assert second.placements == ()


@given(st.integers(1, 20_000), st.floats(1e-6, 1e-3), st.floats(1e-6, 1e-3), st.sampled_from(["cheapest", "fastest"]))
def test_nothing_is_placed_beyond_two_waves_or_more_often_than_it_waits(
    waiting: int, west: float, east: float, objective: str
) -> None:
    found = placed(objective, waiting, west, east)
    assert sum(found.values()) <= waiting
    assert all(units <= 4 for units in found.values())
    assert found


@pytest.mark.parametrize("waiting", [1, 100, 20_000])
def test_equal_prices_and_queues_share_the_work(waiting: int) -> None:
    found = placed("cheapest", waiting, west=0.00005, east=0.00005)
    assert found == ({"east": 1} if waiting == 1 else {"east": 4, "west": 4})
