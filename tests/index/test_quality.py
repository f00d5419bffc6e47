"""How good data are is said: what is missing, generated, imputed, treated, dominated by one, or told twice."""

from __future__ import annotations

import numpy as np
import pytest
from django.test import Client
from hypothesis import assume, given
from hypothesis import strategies as st

from index.analysis.quality import correlations, quality_of
from index.demo import fill
from index.importing.services import roll_back
from index.models import IndexRun, ObservationBatch
from index.quality import ages, data_quality
from tests import builders as build

REGIONS = [f"r{n}" for n in range(6)]


def row(*values: float | None) -> dict[str, float]:
    return {f"r{n}": float(value) for n, value in enumerate(values) if value is not None}


def test_a_value_is_imputed_before_it_is_generated_before_it_is_known() -> None:
    raw = {"a": row(1, 2, 3, 4, 5, None)}
    found = quality_of(["a"], REGIONS, raw, raw, [("a", "r0"), ("a", "r1")], [("a", "r1")])
    assert list(found.states["a"].values()) == ["generated", "imputed", "known", "known", "known", "missing"]
    assert found.by_leaf["a"] == pytest.approx(4 / 6), "imputed values are not known"


def test_what_is_known_too_little_is_named() -> None:
    raw = {"a": row(1, 2, 3, None, None, None), "b": row(1, 2, 3, 4, 5, 6)}
    found = quality_of(["a", "b"], REGIONS, raw, raw, [], [])
    assert found.thin() == (["a"], ["r3", "r4", "r5"])


def test_one_region_that_has_more_than_half_is_named_and_a_half_is_not() -> None:
    raw = {"more": row(6, 1, 1, 1, 1, 1), "half": row(5, 1, 1, 1, 1, 1), "below": row(60, -1, 1, 1, 1, 1)}
    found = quality_of(list(raw), REGIONS, raw, raw, [], [])
    assert found.dominated.keys() == {"more"}
    region, share = found.dominated["more"]
    assert region == "r0"
    assert share == pytest.approx(6 / 11)


def test_equal_values_are_flat_and_have_no_correlation() -> None:
    raw = {"flat": row(2, 2, 2, 2, 2, 2), "other": row(1, 2, 3, 4, 5, 6)}
    found = quality_of(list(raw), REGIONS, raw, raw, [], [])
    assert found.flat == ["flat"]
    assert list(found.pairs) == []


@given(st.lists(st.lists(st.integers(-1000, 1000), min_size=6, max_size=6), min_size=2, max_size=5))
def test_correlations_are_those_of_numpy(columns: list[list[int]]) -> None:
    assume(all(len(set(column)) > 1 for column in columns))
    found = {(pair.one, pair.other): pair.r for pair in correlations({f"l{n}": row(*column) for n, column in enumerate(columns)})}
    expected = np.corrcoef(np.array(columns, dtype=float))
    assert len(found) == len(columns) * (len(columns) - 1) // 2
    for (one, other), r in found.items():
        assert r == pytest.approx(expected[int(one[1:])][int(other[1:])], abs=1e-9)


def test_a_pair_counts_only_the_regions_that_have_both() -> None:
    pair = correlations({"a": row(1, 2, 3, 4, 5, None), "b": row(None, 2, 3, 4, 5, 9)})
    assert pair == [], "four are too few"
    (pair_of_five,) = correlations({"a": row(1, 2, 3, 4, 5, None), "b": row(1, 2, 3, 4, 5, 9)})
    assert pair_of_five.n == 5
    assert pair_of_five.r == pytest.approx(1)


@pytest.fixture
def run(db: None) -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def test_a_leaf_is_generated_where_any_value_below_it_is(run: IndexRun) -> None:
    found = data_quality(run)
    assert set(found.states["A12"].values()) == {"generated"}
    assert set(found.states["C11"].values()) == {"generated"}, "spend is generated, the product is not"
    assert {age.variable: age.origins for age in ages(run)}["gdp"] == ("imported",)


def test_the_page_and_the_door_say_the_same(run: IndexRun) -> None:
    client = Client()
    client.force_login(build.alice().user)
    page = client.get("/index/quality/").content.decode()
    told = client.get(f"/api/v1/index/runs/{run.pk}/quality").json()
    assert page.count('<td class="generated"') == sum(list(one.values()).count("generated") for one in told["states"].values())
    assert "Generated values." in page
    assert f"{len([pair for pair in told['pairs'] if abs(pair['r']) > 0.9])} pair" in page
    assert client.get("/index/quality/?run=0").status_code == 404
    assert client.get("/api/v1/index/runs/0/quality").json()["code"] == "run_unknown"


def test_a_batch_that_was_rolled_back_since_is_still_what_the_run_saw(run: IndexRun) -> None:
    before = ages(run)
    roll_back(ObservationBatch.objects.get(name="generated.csv").pk, "a mistake")
    assert ages(run) == before
