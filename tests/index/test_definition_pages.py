"""Definitions on pages: everything that is wrong at once, drafts that are published as they were read, two versions compared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from index.comparing import compare
from index.defining import ensure_shipped, read_draft, record_weights
from index.faults import place_said, read_document
from index.models import IndexDefinition
from index.trees import definition_of, read_definition
from index.written import as_yaml
from tests import builders as build
from tests.index.builders_index import FOLDER, document, shipped

PULSE = (FOLDER / "supply-pulse@1.yaml").read_text()


def written(**changes: Any) -> str:
    return as_yaml(document({"L0": "v0", "L1": "v1"}) | changes)


def test_everything_that_is_wrong_is_told_at_once_with_its_line() -> None:
    text = (
        PULSE.replace("winsorise: 0", "winsorise: 1.0")
        .replace('min_coverage: "0.5"', "min_coverage: 0.5")
        .replace("direction: down", "way: down")
    )
    lines = text.splitlines()
    made, faults = read_document(text)
    told = {place_said(made, one.place): (one.detail, one.line) for one in faults}
    assert told["method, min_coverage"] == (
        '0.5 is not a share from "0" to "1" in quotes, such as "0.65"',
        lines.index("  min_coverage: 0.5") + 1,
    )
    assert told["method, winsorise"][0] == "1.0 is not a whole number from 0 to 10"
    assert told["indicator R1"][0].startswith("way does not belong here; what may stand here is code, parent")
    assert len(faults) == 3


def test_of_formulas_too_every_fault_is_told() -> None:
    leaves = {"L0": "v0 + nobody + noone", "L1": "v0 * v1", "L2": "L3", "L3": "L2", "L4": "1 +"}
    _, faults = read_document(as_yaml(document(leaves)))
    assert [(one.code, one.place) for one in faults] == [
        ("name_unknown", "nodes.1.formula.national"), ("name_unknown", "nodes.1.formula.national"),
        ("formula_units", "nodes.2.formula.national"), ("formula_invalid", "nodes.5.formula.national"),
        ("formula_cycle", "formula"),
    ]  # fmt: skip
    assert "L2 needs L3 needs L2" in faults[-1].detail


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 5000, "nested deeper"), ("a: 2001-99-99", "not YAML"), ("a: 0x" + "f" * 5000, "too large"),
        ("a: &x [1]\nb: [*x, *x]", "anchors"), ('code: "\\0"', "printed"), ('code: "\\ud800"', ""),
        ("a: 1\na: 2", "a stands twice"),
        ("? [a]\n: b", "not YAML"), ("\x01", "not YAML"), ("a: !!binary x", "not YAML"),
        ("!!python/object/apply:os.system [ls]", "not YAML"), ("a: 1e400", ""), ("a: .nan", ""), ("!!set {a, b}", ""),
    ],
)  # fmt: skip
def test_what_yaml_can_say_beyond_a_definition_is_refused(text: str, why: str) -> None:
    _, faults = read_document(text)
    assert faults
    assert why in faults[0].detail


@given(st.text(max_size=60))
def test_any_text_is_a_definition_or_has_faults(text: str) -> None:
    assert read_document(text)[1]


def test_a_definition_that_is_written_out_reads_as_the_same() -> None:
    for path in FOLDER.glob("*.yaml"):
        one = read_definition(path.read_text())
        assert read_definition(as_yaml(one.document)).digest == one.digest


def test_a_comparison_says_in_words_what_each_change_does() -> None:
    before = document({"L0": "v0", "L1": "v1"})
    after = document({"L0": "v0 * 2", "L1": "v1", "L2": "v2"}, version=2)
    after["nodes"][2] |= {"note": "as before", "direction": "down"}
    found = compare(definition_of(before), definition_of(after))
    told = {one.place: (one.words, one.effect) for one in found.changes}
    assert told["nodes.L0.formula.national"] == ("indicator L0 name: the formula of the national profile changed", "scores")
    assert told["nodes.L1.direction"] == ("indicator L1 name: whether more is better changed", "scores")
    assert told["nodes.L1.note"] == ("indicator L1 name: the note is new", "words")
    assert told["nodes.L2"] == ("indicator L2 name is new", "weights")
    assert told["version"] == ("the version changed", "words")
    assert [(one.parent, one.came, one.gone) for one in found.unweighed] == [("G0", ("L2",), ())]


def test_the_same_in_another_order_is_said_to_be_that() -> None:
    before = document({"L0": "v0", "L1": "v1"})
    after = before | {"nodes": [before["nodes"][n] for n in (0, 2, 1)]}
    assert compare(shipped(), shipped()).same
    found = compare(definition_of(before), definition_of(after))
    assert found.reordered
    assert not found.changes


def client(who: Any = None) -> Client:
    found = Client()
    found.force_login((who or build.alice()).user)
    return found


def seen(found: Client, path: str, status: int = 200) -> str:
    answer = found.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return answer.content.decode()


@pytest.mark.django_db
def test_an_operator_writes_a_draft_reads_it_and_publishes_it_and_nobody_else_sees_it_before() -> None:
    ensure_shipped()
    olga, alice = client(build.olga()), client()
    text = seen(olga, "/index/definitions/?from=supply-pulse")
    assert "version: 2" in text
    answer = olga.post("/index/definitions/", {"text": PULSE.replace("version: 1", "version: 2").replace('"500"', '"400"')})
    assert (answer.status_code, answer["Location"]) == (302, "/index/definitions/supply-pulse@2/")
    row = IndexDefinition.objects.get(version=2)
    assert row.digest in seen(olga, "/index/definitions/supply-pulse@2/")
    seen(alice, "/index/definitions/supply-pulse@2/", 404)
    assert "supply-pulse@2" not in seen(alice, "/index/definitions/")
    seen(alice, "/index/definition-diff/?before=supply-pulse@1&after=supply-pulse@2", 404)
    assert "nodes.R1.goalposts" in seen(olga, "/index/definition-diff/?before=supply-pulse@1&after=supply-pulse@2")
    publish = "/index/definitions/supply-pulse@2/publish/"
    assert alice.post(publish, {"confirm": row.digest}).status_code == 403
    assert olga.post(publish).status_code == 422
    assert olga.post(publish, {"confirm": "0" * 64}).status_code == 409
    assert olga.post(publish, {"confirm": row.digest}).status_code == 302
    assert "supply-pulse@2" in seen(alice, "/index/definitions/")
    assert olga.post(publish, {"confirm": row.digest}).status_code == 409


@pytest.mark.django_db
def test_a_draft_that_is_wrong_is_shown_with_all_its_faults_and_not_kept() -> None:
    olga = client(build.olga())
    answer = olga.post("/index/definitions/", {"text": written(version=0, after="")})
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert "2 things are wrong" in shown
    assert "0 is not a whole number from 1 to 9999." in shown
    assert "after: &#x27;&#x27;" in shown, "what was written stays in the form"
    assert not IndexDefinition.objects.exists()
    ensure_shipped()
    assert olga.post("/index/definitions/", {"text": PULSE}).status_code == 409
    assert client().post("/index/definitions/", {"text": PULSE}).status_code == 403


@pytest.mark.django_db
def test_the_door_tells_all_faults_and_the_difference_of_two_versions() -> None:
    pulse = next(row for row in ensure_shipped() if row.code == "supply-pulse")
    record_weights(pulse, "ours", "imported", dict.fromkeys(["S", "S1", "S2", "R", "R1"], Decimal(1)), {})
    read_draft(PULSE.replace("version: 1", "version: 2").replace("code: S2", "code: S3"))
    olga, alice = client(build.olga()), client()
    problem = olga.post("/api/v1/index/definitions", {"text": written(version=0, after="")}, "application/json").json()
    assert (problem["code"], problem["field"]) == ("definition_invalid", "after")
    assert [one["field"] for one in problem["errors"]] == ["after", "version"]
    assert all(one["line"] for one in problem["errors"])
    path = "/api/v1/index/definitions/supply-pulse@1/diff/supply-pulse@2"
    assert alice.get(path).status_code == 404
    told = olga.get(path).json()
    assert {one["place"] for one in told["changes"]} == {"version", "nodes.S2", "nodes.S3"}
    assert told["unweighed"] == [{"below": "S", "came": ["S3"], "gone": ["S2"]}]
    assert told["left_behind"] == ["ours"]
    assert told["same"] is False
    assert alice.get("/api/v1/index/definitions/supply-pulse/diff/supply-pulse").json()["same"] is True


@pytest.mark.django_db
def test_pages_of_definitions_ask_few_questions_and_say_what_is_not_there() -> None:
    ensure_shipped()
    alice = client()
    for path in (
        "/index/definitions/",
        "/index/definitions/cpsdi-2023/",
        "/index/definition-diff/?before=cpsdi-2023&after=supply-pulse",
    ):
        seen(alice, path)
        with CaptureQueriesContext(connection) as queries:
            seen(alice, path)
        assert len(queries) <= 9, path
    for path in (
        "/index/definitions/x/",
        "/index/definitions/cpsdi-2023@９/",
        "/index/definition-diff/",
        "/index/definition-diff/?before=%C2%B2",
    ):
        seen(alice, path, 404)
