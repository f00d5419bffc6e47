"""The report's statements beside a run: agreed, not agreed or not known, and always why they can or cannot be compared."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from index.analysis.claims import KINDS, Facts, judge
from index.claims import SCHEMA, facts_of, findings, ledger
from index.demo import fill
from index.regions import PROVINCES
from index.trees import ROOT
from tests import builders as build
from tests.index.builders_index import shipped

GUANGDONG, BEIJING, SHANGHAI, HAINAN = "440000", "110000", "310000", "460000"
TREE = shipped()
CLAIMS = {one["id"]: one for one in ledger()["claims"]}


def facts(**changes: Any) -> Facts:
    """Nothing known of any province, in the report's own year."""
    given: dict[str, Any] = {"profile": "national", "period": "2022", "synthetic": False, "scores": {}, "raw": {}, "variables": {}}
    return Facts(definition=TREE, groups=ledger()["groups"], **(given | changes))


def descending(first: list[str], start: float = 90) -> Mapping[str, float]:
    """Every province with a value, these on top in this order."""
    order = first + [region for region in PROVINCES if region not in first]
    return {region: start - 2 * at for at, region in enumerate(order)}


def test_the_ledger_names_only_what_the_definition_has() -> None:
    tree = TREE
    assert len(CLAIMS) == len(ledger()["claims"]) >= 35
    for claim in ledger()["claims"]:
        assert claim.get("node", "A") in {*tree.nodes, ROOT}
        assert claim.get("leaf", "A11") in {leaf.code for leaf in tree.leaves("national")}
        assert claim.get("variable", "gdp") in tree.variables
        assert {claim[side] for side in ("group", "below") if side in claim} <= ledger()["groups"].keys()
    assert {claim["kind"] for claim in ledger()["claims"]} == set(KINDS)


def test_a_statement_without_what_its_kind_needs_is_no_ledger() -> None:
    broken = {
        "code": "x",
        "source": "x",
        "groups": {},
        "claims": [{"id": "x", "place": "x", "kind": "ranks", "quote": "x", "en": "x"}],
    }
    with pytest.raises(ValidationError, match="'regions' is a required property"):
        Draft202012Validator(SCHEMA).validate(broken)


def test_the_tree_is_what_the_report_says_it_is() -> None:
    for code in ("S1", "S2", "S3", "S4", "S5"):
        found = judge(CLAIMS[code], facts())
        assert (found.verdict, found.comparable) == ("agrees", True), code


def test_the_shares_of_the_product_are_recomputed_and_one_is_printed_wrongly() -> None:
    first, second, third = (judge(CLAIMS[code], facts()) for code in ("E1", "E2", "E3"))
    assert (first.verdict, second.verdict, third.verdict) == ("agrees", "differs", "differs")
    assert "1.128" in first.found
    assert "1.128" in second.found
    assert "90,352" in third.found


def test_what_no_run_knows_is_unknown_and_never_a_difference() -> None:
    for claim in CLAIMS.values():
        if claim["kind"] not in {"structure", "arithmetic"}:
            assert judge(claim, facts()).verdict == "unknown", claim["id"]


def test_the_first_five_may_stand_in_any_order_and_the_sixth_may_not() -> None:
    five = ["440000", "330000", "320000", "110000", "310000"]
    assert judge(CLAIMS["I1"], facts(scores={ROOT: descending(five)})).verdict == "agrees"
    other = judge(CLAIMS["I1"], facts(scores={ROOT: descending([*five[:4], HAINAN, five[4]])}))
    assert other.verdict == "differs"
    assert "Shanghai 6" in other.found


def test_a_threshold_counts_for_each_of_them() -> None:
    high = dict.fromkeys(PROVINCES, 60.0)
    assert judge(CLAIMS["A5"], facts(variables={"service_ratio_general": high})).verdict == "agrees"
    assert judge(CLAIMS["A5"], facts(variables={"service_ratio_general": high | {SHANGHAI: 59.9}})).verdict == "differs"
    without = {region: value for region, value in high.items() if region != SHANGHAI}
    assert judge(CLAIMS["A5"], facts(variables={"service_ratio_general": without})).verdict == "unknown"


def test_a_share_is_of_all_that_is_known() -> None:
    five = {"110000": 20.0, "440000": 20.0, "320000": 10.0, "310000": 5.0, "330000": 5.0}
    assert judge(CLAIMS["C1"], facts(raw={"C12": five | {HAINAN: 40.0}})).verdict == "agrees"
    assert judge(CLAIMS["C1"], facts(raw={"C12": five | {HAINAN: 40.1}})).verdict == "differs"


def test_mostly_is_more_than_half() -> None:
    west = [one.code for one in PROVINCES.values() if one.short in ledger()["groups"]["west"]]
    ratio = {region: 30.0 if at < 7 else 50.0 for at, region in enumerate(west)}
    assert judge(CLAIMS["A6"], facts(variables={"service_ratio_general": ratio})).verdict == "agrees"
    half = {region: 30.0 if at < 6 else 50.0 for at, region in enumerate(west)}
    assert judge(CLAIMS["A6"], facts(variables={"service_ratio_general": half})).verdict == "differs"


def test_types_and_correlations_go_by_the_line() -> None:
    index = descending([GUANGDONG, BEIJING])
    economy = {region: 100 * value for region, value in index.items()}
    known = facts(scores={ROOT: index}, variables={"digital_economy": economy})
    assert judge(CLAIMS["R1"], known).verdict == "agrees"
    assert judge(CLAIMS["R3"], known).verdict == "agrees", "on the line all are balanced"
    assert judge(CLAIMS["R5"], known).verdict == "differs"
    lifted = facts(scores={ROOT: index}, variables={"digital_economy": economy | {SHANGHAI: economy[SHANGHAI] + 5000}})
    assert judge(CLAIMS["R5"], lifted).verdict == "agrees"


def test_every_reason_is_said_why_a_run_cannot_be_compared() -> None:
    reasons = judge(CLAIMS["I1"], facts(profile="platform", period="2023", synthetic=True)).reasons
    assert len(reasons) == 4
    assert any("generated" in reason for reason in reasons)
    assert judge(CLAIMS["A5"], facts()).reasons == ("the data differ: the report prints none",)


@given(st.sampled_from(sorted(CLAIMS)), st.dictionaries(st.sampled_from(sorted(PROVINCES)), st.floats(-1e9, 1e9), max_size=31))
def test_every_statement_is_judged_whatever_is_known(code: str, values: dict[str, float]) -> None:
    tables = dict.fromkeys((*TREE.nodes, ROOT), values)
    found = judge(CLAIMS[code], facts(scores=tables, raw=tables, variables=dict.fromkeys(TREE.variables, values)))
    assert found.verdict in {"agrees", "differs", "unknown"}
    assert found.found


def test_another_tree_cannot_be_compared_not_even_where_its_codes_are_the_same() -> None:
    other = replace(
        facts(scores=dict.fromkeys((*TREE.nodes, ROOT), descending([GUANGDONG]))), definition=replace(TREE, code="other")
    )
    for claim in CLAIMS.values():
        found = judge(claim, other)
        assert found.comparable == (claim["kind"] == "arithmetic"), claim["id"]
    assert judge(CLAIMS["S1"], other).reasons == ("another tree: the statement is of cpsdi-2023, the run of other",)


@given(st.permutations(range(31)), st.integers(1, 1000))
def test_statements_of_order_and_share_do_not_depend_on_the_unit(order: list[int], times: int) -> None:
    values = {region: float(place + 1) for region, place in zip(PROVINCES, order, strict=True)}
    for claim in CLAIMS.values():
        if claim["kind"] in {"ranks", "first", "share", "groups", "above_mean", "below_mean"}:
            before, after = (
                judge(claim, _everywhere(table)) for table in (values, {one: times * at for one, at in values.items()})
            )
            assert before.verdict == after.verdict != "unknown", claim["id"]


def _everywhere(values: Mapping[str, float]) -> Facts:
    tables = dict.fromkeys((*TREE.nodes, ROOT), values)
    return facts(scores=tables, raw=tables, variables=dict.fromkeys(TREE.variables, values))


@pytest.mark.django_db
def test_a_run_is_held_beside_the_report_on_a_page_and_by_the_api() -> None:
    run = fill((2022,))
    assert run is not None
    client = Client()
    client.force_login(build.alice().user)
    page = client.get("/index/claims/").content.decode()
    assert page.count("<tr id=") == len(CLAIMS)
    assert "广东、北京、浙江、上海、江苏排名前五" in page
    assert "generated values are in the run" in page.lower()
    assert "Quoted, never used." in page
    assert facts_of(run).synthetic
    assert {one.claim["id"] for one in findings(run)} == CLAIMS.keys()

    rows = list(csv.DictReader(io.StringIO(client.get("/index/claims/?as=csv").content.decode())))
    assert [(row["id"], row["outcome"]) for row in rows] == [(one.claim["id"], one.verdict) for one in findings(run)]

    answer = client.get(f"/api/v1/index/runs/{run.pk}/claims").json()
    assert [one["id"] for one in answer["claims"]] == list(CLAIMS)
    assert client.get("/index/claims/?run=0").status_code == 404
    assert client.get(f"/api/v1/index/runs/{2**63 - 1}/claims").json()["code"] == "run_unknown"
