"""CATS metrics: level 0 as measured, levels 1 and 2 between 0 and 10 and monotone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scheduler.network.cats import BOUNDS, Metric, declaration, level1, level2, link_metrics, pool_metrics, score
from tests.network.graphs import link

kinds = st.sampled_from(sorted(BOUNDS))
values = st.floats(0, 1e6)


@given(kinds, values)
def test_scores_lie_between_nought_and_ten(kind: str, value: float) -> None:
    assert 0 <= score(Metric(kind, value, "")) <= 10


@given(kinds, values, values)
def test_nearer_to_the_best_is_never_a_lower_score(kind: str, a: float, b: float) -> None:
    worst, best = BOUNDS[kind]
    low, high = sorted((a, b), reverse=best < worst)
    assert score(Metric(kind, low, "")) <= score(Metric(kind, high, ""))


def test_level_1_is_the_mean_of_a_category_rounded_half_up() -> None:
    assert level1([Metric("delay", 1.0, "ms"), Metric("delay", 100.0, "ms")]) == 5
    assert level1([Metric("loss", 0.0, "ratio"), Metric("loss", 0.001, "ratio")]) == 10
    assert level1([]) is None


def test_level_2_weighs_the_categories_that_are_known() -> None:
    assert level2({"communication": 10, "computing": 5}) == 8
    assert level2({"communication": 4, "computing": None}) == 4
    assert level2({"communication": None, "computing": None}) is None


def test_a_link_is_published_as_measured_with_its_source() -> None:
    found = [one.document() for one in link_metrics(link(1, "a", "b", origin="probe", age_s=1e6))]
    assert [(one["metric_type"], one["value"], one["unit"]) for one in found] == [
        ("delay", 1.0, "ms"),
        ("delay", 1.0, "ms"),
        ("jitter", 5.0, "ms"),
        ("loss", 0.0, "ratio"),
        ("bandwidth", 1000.0, "Mbit/s"),
    ]
    assert {one["source"] for one in found} == {"directly measured"}
    assert {one["level"] for one in found} == {"L0"}


def test_a_pool_is_what_it_declares_minus_what_is_held() -> None:
    assert [one.value for one in pool_metrics(8, 6)] == [2.0, 0.75]
    assert [one.value for one in pool_metrics(8, 99)] == [0.0, 1.0]
    assert [one.value for one in pool_metrics(0, 0)] == [0.0, 1.0]


def test_the_way_of_scoring_is_declared() -> None:
    assert set(declaration()["bounds"]) == set(BOUNDS)
