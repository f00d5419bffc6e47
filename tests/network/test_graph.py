"""Links as measured and as counted: what is old widens, nothing becomes zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.network.graph import DRIFT, HOUR_S, MAX_WIDENING, MONTH_S, Graph, Node, class_of, distance_km
from tests.network.graphs import link

ages = st.floats(0, 1e9)
spreads = st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 5.0))


def test_a_fresh_measurement_counts_as_its_p90() -> None:
    edge = link(1, "a", "b", latency_p50_s=0.010, latency_p90_s=0.015).edge()
    assert (edge.latency_ns, edge.mbps) == (15_000_000, 1000.0)


@given(spreads, ages, ages, st.sampled_from(sorted(DRIFT)))
def test_older_is_never_narrower(spread: tuple[float, float], a: float, b: float, kind: str) -> None:
    p50, ratio = spread
    new, old = (
        link(1, "a", "b", latency_p50_s=p50, latency_p90_s=p50 * ratio, loss=0.01, age_s=age, origin=kind).edge()
        for age in sorted((a, b))
    )
    assert new.latency_ns <= old.latency_ns
    assert new.jitter_ns <= old.jitter_ns
    assert new.loss <= old.loss
    assert new.mbps >= old.mbps > 0


@given(spreads, ages)
def test_it_widens_to_a_bound_and_never_to_zero(spread: tuple[float, float], age: float) -> None:
    p50, ratio = spread
    one = link(1, "a", "b", latency_p50_s=p50, latency_p90_s=p50 * ratio, age_s=age, origin="probe")
    assert 1 <= one.widening <= MAX_WIDENING
    assert one.edge().latency_ns >= 1


def test_a_probe_of_an_hour_ago_and_a_map_of_a_month_ago_have_widened_by_29_percent() -> None:
    assert link(1, "a", "b", origin="probe", age_s=HOUR_S).widening == pytest.approx(1.292, abs=0.001)
    assert link(1, "a", "b", origin="imported", age_s=MONTH_S).widening == pytest.approx(1.292, abs=0.001)


def test_a_clock_that_was_set_back_does_not_make_a_link_better() -> None:
    assert link(1, "a", "b", origin="probe", age_s=-1e6).widening == 1


@pytest.mark.parametrize(("jitter_ms", "expected"), [(0, 0), (0.02, 0), (0.021, 1), (1, 1), (1.1, 2), (10, 2), (10.1, 3), (500, 3)])
def test_jitter_classes_have_the_bounds_that_are_promised(jitter_ms: float, expected: int) -> None:
    assert class_of(jitter_ms / 1000) == expected


def test_an_old_measurement_loses_its_class() -> None:
    assert link(1, "a", "b", jitter_p99_s=0.000_9, origin="probe").jitter_class == 1
    assert link(1, "a", "b", jitter_p99_s=0.000_9, origin="probe", age_s=86_400).jitter_class == 2


def test_a_latency_of_zero_or_a_p90_below_p50_is_no_link() -> None:
    with pytest.raises(ValueError, match="P50"):
        link(1, "a", "b", latency_p50_s=0.0)
    with pytest.raises(ValueError, match="P50"):
        link(1, "a", "b", latency_p50_s=0.002)


def test_ids_are_unique_and_ends_are_known() -> None:
    nodes = [Node("a"), Node("b")]
    with pytest.raises(ValueError, match="link 1 appears twice"):
        Graph(nodes, [link(1, "a", "b"), link(1, "b", "a")])
    with pytest.raises(ValueError, match="node a appears twice"):
        Graph([*nodes, Node("a")], [])
    with pytest.raises(ValueError, match="unknown node"):
        Graph(nodes, [link(1, "a", "c")])


def test_beijing_and_shanghai_are_1067_km_apart() -> None:
    assert distance_km((39.9042, 116.4074), (31.2304, 121.4737)) == pytest.approx(1067, abs=3)
    assert distance_km((10.0, 20.0), (10.0, 20.0)) == 0
