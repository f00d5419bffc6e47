"""A run as files: the same bytes each time, the same numbers as the run, never a formula, marked where values were generated."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import Any

import orjson
import pytest
from django.test import Client
from openpyxl import load_workbook

from index.demo import fill
from index.exports.files import table_csv, workbook
from index.exports.services import xlsx_of
from index.exports.tables import NOTICE, TABLES, Cell, Table
from index.models import IndexRun
from index.regions import PROVINCES
from index.running.services import replay
from tests import builders as build

EVIL = ['=HYPERLINK("x")', "+1+1", "-cmd", "@SUM(A1)", "\tx", "plain"]


def test_no_text_is_a_formula_in_either_kind_of_file() -> None:
    rows: list[list[Cell]] = [[text, Decimal("-1.5")] for text in EVIL]
    table = Table("evil", ("text", "number"), rows)
    told = list(csv.DictReader(io.StringIO(table_csv(table, synthetic=False))))
    assert all(row["text"][0] in "'p" for row in told)
    assert {row["number"] for row in told} == {"-1.5"}
    sheet = load_workbook(io.BytesIO(workbook([table], synthetic=False)))["evil"]
    cells = [row[0] for row in sheet.iter_rows(min_row=2)]
    assert {cell.data_type for cell in cells} == {"s"}
    assert sheet["B2"].value == -1.5


def test_the_same_tables_are_the_same_bytes() -> None:
    table = Table("one", ("a",), [[1], [None], ["x"]])
    assert workbook([table], synthetic=True) == workbook([table], synthetic=True)


@pytest.fixture
def run(db: None) -> IndexRun:
    found = fill((2022,))
    assert found
    return found


@pytest.fixture
def alice(db: None) -> Client:
    client = Client()
    client.force_login(build.alice().user)
    return client


def rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_a_workbook_holds_every_number_of_the_run(run: IndexRun) -> None:
    book = load_workbook(io.BytesIO(xlsx_of(run)), read_only=True)
    assert book.sheetnames == list(TABLES)
    result = run.read("result")
    for name in ("raw", "treated", "normalised", "scores"):
        lines = list(book[name].iter_rows(values_only=True))
        assert lines[0][0] == NOTICE, "on top of every sheet"
        head, body = lines[1], lines[2:]
        assert len(body) == len(PROVINCES)
        for line in body:
            for node, value in zip(head[3:], line[3:], strict=True):
                told = result[name].get(node, {}).get(line[0])
                assert (value is None) == (told is None)
                assert value is None or float(value) == pytest.approx(float(told), abs=1e-12)
    ranks = {line[0]: line[2] for line in list(book["ranks"].iter_rows(values_only=True))[2:]}
    assert ranks == result["ranks"]
    observed = list(book["observations"].iter_rows(values_only=True))[2:]
    assert len(observed) == sum(len(row) for row in run.read("inputs").values())
    assert any("国家统计局" in str(line[8]) for line in observed)


def test_every_table_is_a_file_that_says_whether_values_were_generated(run: IndexRun, alice: Client) -> None:
    for table in TABLES:
        answer = alice.get(f"/api/v1/index/runs/{run.pk}/tables/{table}")
        assert answer.status_code == 200
        assert f"{table}-synthetic.csv" in answer["Content-Disposition"]
        assert {row["synthetic"] for row in rows_of(answer)} == {"yes"}
    assert alice.get(f"/api/v1/index/runs/{run.pk}/tables/secrets").json()["code"] == "table_unknown"


def test_a_province_and_an_indicator_are_files_of_their_own(run: IndexRun, alice: Client) -> None:
    result = run.read("result")
    province = {row["node"]: row for row in rows_of(alice.get(f"/api/v1/index/runs/{run.pk}/provinces/440000"))}
    assert Decimal(province["INDEX"]["score"]) == Decimal(result["scores"]["INDEX"]["440000"])
    assert Decimal(province["A11"]["raw"]) == Decimal(result["raw"]["A11"]["440000"])
    indicator = {row["region_code"]: row for row in rows_of(alice.get(f"/api/v1/index/runs/{run.pk}/indicators/A11"))}
    assert Decimal(indicator["440000"]["score"]) == Decimal(result["normalised"]["A11"]["440000"])
    assert alice.get(f"/api/v1/index/runs/{run.pk}/provinces/1").json()["code"] == "region_unknown"
    assert alice.get(f"/api/v1/index/runs/{run.pk}/indicators/X").json()["code"] == "indicator_unknown"


def test_the_document_replays_and_says_what_it_holds(run: IndexRun, alice: Client) -> None:
    document = orjson.loads(alice.get(f"/api/v1/index/runs/{run.pk}/export.json").content)
    assert (document["synthetic"], document["notice"]) == (True, NOTICE)
    assert all(before == now for before, now in replay(document).values())


def test_who_has_a_file_already_is_told_so_until_the_run_is_published(run: IndexRun, alice: Client) -> None:
    for path in ("export.xlsx", "export.json", "tables/ranks", "provinces/440000", "indicators/A11"):
        first = alice.get(f"/api/v1/index/runs/{run.pk}/{path}")
        assert first.status_code == 200
        again = alice.get(f"/api/v1/index/runs/{run.pk}/{path}", headers={"If-None-Match": first["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = alice.get(f"/api/v1/index/runs/{run.pk}/{path}", headers={"If-None-Match": '"another"'})
        assert other.content == first.content


def test_the_pages_lead_to_their_files(run: IndexRun, alice: Client) -> None:
    for page, part in (("", "tables/ranks"), ("provinces/440000/", "provinces/440000"), ("indicators/A11/", "indicators/A11")):
        text = alice.get(f"/index/{page}").content.decode()
        assert f"/api/v1/index/runs/{run.pk}/export.xlsx" in text
        assert f"/api/v1/index/runs/{run.pk}/{part}" in text
    assert f"/api/v1/index/runs/{run.pk}/export.xlsx" in alice.get("/index/editions/").content.decode()
