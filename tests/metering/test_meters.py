"""Claims are clamped to the lease and the server's clock: the pure rule, and PostgreSQL's copy of it."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metering.meters import Lease, Measured, gflop_of, measure, resources_of
from metering.models import UsageRecord
from metering.services import measure as measure_batch
from tests.builders_billing import START, Market, make_attempt, make_market, make_need, make_task

LEASE = Lease(START, START + timedelta(seconds=10), "valid", 2, 512, 1, "0.5", 600, 1000)


def test_an_honest_claim_is_taken_as_it_stands() -> None:
    claim = {"wall_ms": 9000, "core_ms": 12_000, "memory_mib_ms": 4_000_000, "bytes_in": 10, "bytes_out": 20}
    measured = measure(LEASE, claim | {"accelerator_ms": {"a100": 8000}})
    assert measured == Measured(9000, 12_000, 18_000, 4_000_000, 8000, Decimal("500.000000"), 10, 20, None, [])


@pytest.mark.parametrize(
    ("claim", "joules", "flags"),
    [({}, None, []), ({"joules": 900}, 900, []), ({"joules": 10**6}, 17_000, ["joules"])],
)
def test_joules_are_unknown_unless_measured_and_bounded_by_what_such_a_lease_can_draw(
    claim: dict[str, int], joules: int | None, flags: list[str]
) -> None:
    measured = measure(LEASE, {"wall_ms": 10_000} | claim)  # two cores and an accelerator for ten seconds
    assert (measured.joules, measured.flags) == (joules, flags)


def test_nothing_runs_longer_than_its_lease() -> None:
    measured = measure(LEASE, {"wall_ms": 3_600_000, "core_ms": 7_200_000})
    assert (measured.wall_ms, measured.core_ms, measured.flags) == (10_000, 20_000, ["wall_ms", "core_ms"])


def test_nothing_is_metered_beyond_the_units_own_time_limit() -> None:
    lease = Lease(START, START + timedelta(seconds=100), "failed", 1, 1, 0, "1", 30, 1000)
    assert measure(lease, {"wall_ms": 31_000}).wall_ms == 30_000


def test_bytes_are_bounded_by_the_pools_bandwidth() -> None:
    assert measure(LEASE, {"bytes_in": 10**15}).bytes_in == 10_000 * 1000 * 125


def test_a_lost_attempt_held_its_cores_and_used_none_whatever_it_says() -> None:
    lease = Lease(START, START + timedelta(seconds=10), "lost", 2, 512, 1, "0.5", 5, 1000)
    measured = measure(lease, {"wall_ms": 5, "core_ms": 5})
    assert measured == Measured(wall_ms=10_000, held_core_ms=20_000)


@pytest.mark.parametrize("claim", [None, [], "much", 7, True, {"core_ms": None}, {"core_ms": "9"}, {"core_ms": -1}])
def test_a_claim_that_is_none_counts_nothing(claim: Any) -> None:
    assert measure(LEASE, claim).core_ms == 0


def test_work_is_the_plans_and_only_a_valid_attempts() -> None:
    failed = Lease(START, START, "failed", 1, 1, 0, "0.5", 0, 1)
    assert measure(LEASE, None).fp32_gflop == 500
    assert measure(failed, None).fp32_gflop == 0


@pytest.mark.parametrize("text", ["", "NaN", "-1", "Infinity", "1;", "1e999", "0x10", "１"])
def test_a_demand_that_is_no_number_counts_nothing(text: str) -> None:
    assert gflop_of(text) == 0


_numbers = st.one_of(
    st.integers(-(10**30), 10**30),
    st.integers(-5, 30_000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -0.0, 1.5, 1e300, -1e300, 1e-300, 2**63 - 1, 2**63, 10**400]),
)
_junk = st.one_of(st.none(), st.booleans(), st.text("0123456789.eE- ", max_size=6), st.lists(st.integers(), max_size=2))
_values = st.one_of(_numbers, _junk, st.dictionaries(st.text("ab", max_size=2), _numbers | _junk, max_size=3))
_names = st.sampled_from(["wall_ms", "core_ms", "memory_mib_ms", "bytes_in", "bytes_out", "accelerator_ms", "joules", "other"])
_claims = st.one_of(st.dictionaries(_names, _values, max_size=7), _values)
_tflop = st.one_of(
    st.decimals(0, 10**6, places=9).map(str),
    st.sampled_from(["1E-7", "2e25", "0.0000000005", "-3", "NaN", "", "9" * 40]),
)
_need = st.fixed_dictionaries(
    {},
    optional={
        "cores": st.one_of(st.integers(0, 64), _values),
        "memory_mib": st.one_of(st.integers(0, 4096), _values),
        "accelerators": st.lists(
            st.fixed_dictionaries({"model": st.just("a"), "count": st.one_of(st.integers(0, 8), _values)}), max_size=2
        ),
    },
)
_states = st.sampled_from(["valid", "failed", "lost", "cancelled", "superseded", "invalid"])


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    claims=st.lists(st.tuples(_claims, _states, st.integers(-10, 10**9)), min_size=1, max_size=12),
    need=_need,
    tflop=_tflop,
    run_s=st.one_of(st.integers(0, 100), _junk),
)
@example(claims=[({"accelerator_ms": {"a": -1, "b": 5}}, "valid", 10**6)], need={}, tflop="1", run_s=0)
@example(claims=[(None, "lost", 4_000_000_000_000)], need={"cores": 10**9}, tflop="1", run_s=0)
def test_postgresql_measures_as_the_pure_rule_does(
    market: Market, claims: list[tuple[Any, str, int]], need: dict[str, Any], tflop: str, run_s: Any
) -> None:
    task = make_task(market)
    row = make_need(need=need, tflop=tflop, run_s=run_s)
    expected: dict[int, Measured] = {}
    resources = resources_of(row.document)
    for claim, state, micros in claims:
        ended_at = START + timedelta(microseconds=micros)
        claim = json.loads(json.dumps(claim))
        attempt = make_attempt(market, task, row, state=state, usage=claim, ended_at=ended_at)
        lease = Lease(
            START, ended_at, state, resources.cores, resources.memory_mib, resources.accelerators,
            resources.tflop, resources.run_s, market.pool.bandwidth_mbps,
        )  # fmt: skip
        expected[attempt.pk] = measure(lease, claim)
    taken = measure_batch()
    assert (taken.taken, taken.recorded, taken.tasks) == (len(claims), len(claims), [task.pk])
    names = list(Measured.__slots__)
    for record in UsageRecord.objects.filter(task=task):
        want = expected.pop(record.attempt_id)
        assert {name: getattr(record, name) for name in names} == {name: getattr(want, name) for name in names}
    assert not expected
