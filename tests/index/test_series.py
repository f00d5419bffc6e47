"""Years on one scale: runs on one base's goalposts compare, others stand after a break that says why."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.errors import Invalid
from index.analysis.comparing import compare
from index.defining import definition_named, ensure_shipped, read_weights, record_weights
from index.demo import fill, fill_series
from index.models import IndexRun, WeightSet
from index.running.history import history_of, side_of
from index.running.series import Series, run_series
from index.running.services import Wanted, bundle_of, replay, run_index
from index.trees import ROOT
from tests import builders as build

YEARS = (2021, 2022)
PERIODS = ["2021", "2022"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def runs() -> list[IndexRun]:
    fill(YEARS)
    return fill_series(YEARS)


def equal() -> WeightSet:
    return WeightSet.objects.get(definition__code="cpsdi-2023", kind="placeholder")


def test_a_series_is_made_once_and_its_runs_compare_whatever_the_method_is(runs: list[IndexRun]) -> None:
    assert [run.period for run in runs] == PERIODS
    assert runs[-1].edition == 1, "the base is the edition itself"
    assert fill_series(YEARS) == runs
    assert IndexRun.objects.count() == 2
    assert all(before == now for before, now in replay(bundle_of(runs[0])).values()), "without its base, from its bundle"
    for before, after in (runs, runs[::-1]):
        found = compare(side_of(before), side_of(after))
        assert found.comparable
        assert len(found.regions) == 31
        assert all(abs(one.effects[ROOT].total - (one.change or 0)) < Decimal("1E-9") for one in found.regions)
        assert all(one.effects[ROOT].weights == 0 for one in found.regions)
    made = run_series(Series(equal(), "national", ["2021"], "2022", parameters={"normalise": "zscore", "draws": 100}))
    assert [run.period for run in made] == PERIODS
    assert made[0].parameters["base"] == made[1].parameters["base"], "scores by deviations are none on goalposts"
    assert compare(side_of(made[0]), side_of(made[1])).comparable


TOO_MANY = [str(year) for year in range(1900, 1950)]


@pytest.mark.parametrize("changes", [{"periods": ["2022"]}, {"parameters": {"base": 1}}, {"periods": TOO_MANY}])
def test_a_series_has_several_periods_and_its_own_base(changes: dict[str, Any]) -> None:
    ensure_shipped()
    with pytest.raises(Invalid) as error:
        run_series(Series(**{"weights": equal(), "profile": "national", "periods": PERIODS, "base": "2022"} | changes))
    assert error.value.code == "series_invalid"


def test_what_does_not_compare_comes_last_with_the_reason(runs: list[IndexRun]) -> None:
    fill((2018, 2019))
    run_index(Wanted(equal(), "national", "2019", parameters={"draws": 100}))
    row = definition_named("cpsdi-2023")
    tree = read_weights(row, equal().weights | {"A": "3"})
    ours = record_weights(row, "ours", WeightSet.Kind.IMPORTED, tree, {})
    run_index(Wanted(ours, "national", "2018", parameters={"base": runs[-1].pk, "draws": 100}))
    run_index(Wanted(equal(), "national", "2021", parameters={"base": runs[-1].pk, "aggregate": "geometric", "draws": 100}))
    found = history_of(runs[0])
    assert found[0].run == runs[0], "a newer run of the period by another method takes nobody's place"
    assert [year.run.period for year in found] == [*PERIODS, "2018", "2019"]
    assert [[reason.code for reason in year.reasons] for year in found] == [[], [], ["weights"], ["scale"]]
    run = IndexRun.objects.select_related("definition", "weights").get(pk=runs[0].pk)
    with CaptureQueriesContext(connection) as queries:
        raw = history_of(run, "A11")
    assert len(queries) == 2, "however many periods there are"
    assert [year.run.period for year in raw] == ["2018", "2019", *PERIODS], "what is in its unit stands on no scale"
    assert raw[0].values["440000"] == Decimal(side_of(raw[0].run).document["raw"]["A11"]["440000"])
    latency = history_of(runs[0], "D21")[0]
    best = min(latency.ranks, key=lambda region: latency.ranks[region])
    assert latency.values[best] == min(latency.values.values()), "less is better"


def test_the_doors_tell_the_same_numbers(runs: list[IndexRun]) -> None:
    alice = build.client_of(build.alice())
    told = alice.get(f"/api/v1/index/compare?run={runs[0].pk}&other={runs[1].pk}").json()
    found = compare(side_of(runs[0]), side_of(runs[1])).regions[0]
    first = told["regions"][found.region]
    assert (told["comparable"], told["reasons"]) == (True, [])
    assert Decimal(first["change"]) == found.change
    assert abs(Decimal(first["effects"]["A11"]["data"]) - found.effects["A11"].data) < Decimal("1E-12")
    apart = alice.get(f"/api/v1/index/compare?run={runs[1].pk}&left=440000&right=110000").json()["nodes"]
    assert abs(Decimal(apart["INDEX"]["difference"]) - sum(Decimal(apart[one]["difference"]) for one in "ABCD")) < Decimal("1E-9")
    history = alice.get(f"/api/v1/index/history?run={runs[1].pk}&node=A11").json()
    assert (history["base"], [one["period"] for one in history["periods"]]) == (runs[1].pk, PERIODS)
    assert alice.get(f"/api/v1/index/history?run={runs[1].pk}&node=X").status_code == 404
    other = run_index(Wanted(equal(), "national", "2021", parameters={"draws": 101}))
    told = alice.get(f"/api/v1/index/compare?run={other.pk}&other={runs[1].pk}").json()
    assert [reason["code"] for reason in told["reasons"]] == ["scale"]
    assert {one["change"] for one in told["regions"].values()} == {None}


def test_operators_make_series_and_others_do_not(runs: list[IndexRun]) -> None:
    body = {"definition": "cpsdi-2023", "periods": ["2021"], "base": "2022"}
    olga = build.client_of(build.olga())
    assert [one["period"] for one in olga.post("/api/v1/index/series", body, format="json").json()] == ["2021", "2022"]
    assert build.client_of(build.alice()).post("/api/v1/index/series", body, format="json").status_code == 403
    for change, status in (
        ({"weights": "nobody's"}, 404), ({"definition": "x"}, 404), ({"periods": ["21"]}, 422), ({"draws": 1}, 422),
        ({"periods": ["2022"]}, 422), ({"parameters": {"draws": 1}}, 422), ({"periods": ["1999"]}, 409),
    ):  # fmt: skip
        assert olga.post("/api/v1/index/series", body | change, format="json").status_code == status, change


def test_bad_questions_are_problems_with_a_field() -> None:
    alice = build.client_of(build.alice())
    for query, status, field in (
        ("", 422, "run"), ("run=x", 422, "run"), ("run=0", 422, "run"), (f"run={2**70}", 422, "run"), ("run=1", 422, "other"),
        ("run=1&left=440000", 422, "other"), ("run=1&left=999999&right=440000", 422, "left"), ("run=1&more=1", 422, "more"),
        ("run=1&other=1&left=440000&right=110000", 422, "other"), ("run=1&other=1", 404, None),
        ("run=1&left=440000&right=110000", 404, None),
    ):  # fmt: skip
        answer = alice.get(f"/api/v1/index/compare?{query}")
        assert (answer.status_code, answer.json().get("errors", [answer.json()])[0].get("field")) == (status, field), query
    assert alice.get("/api/v1/index/history?run=1").status_code == 404
    assert alice.get("/api/v1/index/history?run=1&node=%00").status_code == 422
