"""The index beside another quantity: a line where there is one, types by a stated rule, and plain words where there is none."""

from __future__ import annotations

import csv
import io
import re

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from index.analysis.relating import KINDS, relate, used_in
from index.beside import words_of
from index.demo import fill
from index.importing.services import File, Source, commit, preview, roll_back
from index.models import IndexRun
from index.regions import PROVINCES
from index.running.services import Wanted, run_index
from tests import builders as build
from tests.index.builders_index import shipped

VALUES = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(-1000, 1000).map(float))


def test_whoever_is_above_the_line_is_pulled_by_demand() -> None:
    index = {name: float(at) for at, name in enumerate("abcdefgh")}
    economy = {name: 10 * value for name, value in index.items()} | {"d": 90.0, "e": -20.0}
    found = relate(index, economy)
    kinds = {one.region: one.kind for one in found.standing}
    assert (kinds["d"], kinds["e"]) == ("demand_pulled", "supply_driven")
    assert found.standing[0].region == "d"
    assert {one.kind for one in relate(index, economy, zone=3).standing} == {"balanced"}


def test_a_line_needs_five_regions_and_two_things_that_differ() -> None:
    four = dict(zip("abcd", (1.0, 2.0, 3.0, 4.0), strict=True))
    assert relate(four, four).line is None
    assert [one.kind for one in relate(four, four).standing] == [""] * 4
    six = dict.fromkeys("abcdef", 1.0)
    assert relate(six, {name: float(at) for at, name in enumerate("abcdef")}).line is None
    assert relate(six, six).ends() == []


@given(VALUES, VALUES)
def test_every_region_is_told_once_with_a_type_or_alone(index: dict[str, float], other: dict[str, float]) -> None:
    found = relate(index, other)
    assert sorted([one.region for one in found.standing] + list(found.alone)) == sorted(index)
    assert all(one.kind in KINDS if found.line else not one.kind for one in found.standing)
    assert sum(one.apart for one in found.standing) == pytest.approx(0, abs=1e-6), "residuals of least squares"


def test_what_the_index_is_made_of_is_known() -> None:
    used = used_in(shipped(), "national")
    assert {"gdp", "users_5g"} <= used
    assert "digital_economy" not in used


@pytest.fixture
def run(db: None) -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def page(path: str, status: int = 200) -> str:
    client = Client()
    client.force_login(build.alice().user)
    answer = client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return answer.content.decode()


def test_the_page_has_a_point_a_row_and_a_source_for_every_province(run: IndexRun) -> None:
    shown = page("/index/relationship/")
    assert len(re.findall(r'href="/index/provinces/\d{6}/', shown)) == 31
    assert len(re.findall(r'href="/index/observations/\d+/', shown)) == 31
    assert shown.count('"symbolSize": 11') == 3, "three types, three colours"
    assert "no cause" in shown
    assert "A part of the index" not in shown
    assert "A part of the index" in page("/index/relationship/?with=gdp")
    assert "Balanced (31)" in page("/index/relationship/?zone=3")


def test_what_cannot_be_asked_is_said(run: IndexRun) -> None:
    assert "nothing of that name" in page("/index/relationship/?with=happiness", 404).lower()
    for zone in ("x", "-1", "4", "nan", "inf"):
        assert "standard deviations" in page(f"/index/relationship/?zone={zone}", 422)
    assert "given as csv" in page("/index/relationship/?as=pdf", 422)
    client = Client()
    client.force_login(build.alice().user)
    for asked, code in (("zone=9", "invalid_parameter"), ("with=happiness", "variable_unknown")):
        assert client.get(f"/api/v1/index/runs/{run.pk}/relationship?{asked}").json()["code"] == code


def test_what_no_definition_names_stands_beside_the_index_too(run: IndexRun) -> None:
    shown = page("/index/relationship/?with=gdp_per_capita")
    assert "GDP per capita (beside the definition)" in shown
    assert len(re.findall(r'href="/index/observations/\d+/', shown)) == 31
    assert "A part of the index" not in shown
    assert "above_10000_flag" not in shown, "a yes or no is no quantity"
    assert "cloud_and_bigdata" not in shown, "of the country alone"
    assert words_of("pct_applications") == "PCT applications"


def test_what_came_after_the_run_or_in_two_kinds_of_units_does_not(run: IndexRun) -> None:
    lines = [f"{region},late,2022,{at},件,x" for at, region in enumerate(PROVINCES)]
    later = File("late.csv", "\n".join(["region_code,indicator,year,value,unit,source", *lines]).encode(), Source("late", "x"))
    batch = commit(preview(later).pk)
    page("/index/relationship/?with=late", 404)
    weights = run.weights
    again = run_index(Wanted(weights, "national", "2022", parameters={"seed": 5, "draws": 100}))
    assert "Late" in page(f"/index/relationship/?with=late&run={again.pk}")
    roll_back(batch.pk, "x")
    assert "Late" in page(f"/index/relationship/?with=late&run={again.pk}"), "the run's moment was before"


def test_the_numbers_come_as_csv_and_as_json_as_exact_as_they_are(run: IndexRun) -> None:
    client = Client()
    client.force_login(build.alice().user)
    told = client.get(f"/api/v1/index/runs/{run.pk}/relationship?with=gdp&zone=1").json()
    assert (told["quantity"]["variable"], told["quantity"]["part"], told["zone"]) == ("gdp", True, 1)
    assert told["line"]["n"] == len(told["places"]) == 31
    assert told["line"]["low"] < told["line"]["slope"] < told["line"]["high"]
    assert {one["type"] for one in told["places"]} <= set(KINDS)
    rows = list(csv.DictReader(io.StringIO(client.get("/index/relationship/?with=gdp&zone=1&as=csv").content.decode())))
    assert [(row["region_code"], row["value"], row["type"]) for row in rows] == [
        (one["region"], one["value"], one["type"]) for one in told["places"]
    ]
    assert {(row["run"], row["synthetic"]) for row in rows} == {(str(run.pk), "True")}
