"""The printed report: whole, marked on every sheet, and the same numbers as the run."""

from __future__ import annotations

import pypdfium2
import pytest
from django.test import Client

from index.demo import fill
from index.models import IndexRun
from index.regions import PROVINCES
from tests import builders as build

pytestmark = pytest.mark.django_db
MARK = "Contains generated values"


@pytest.fixture
def run() -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def browser() -> Client:
    client = Client()
    client.force_login(build.alice().user)
    return client


def test_the_report_holds_ranks_provinces_method_and_sources(run: IndexRun) -> None:
    page = browser().get("/index/report/").content.decode()
    assert all(f"<h3>{one.en} " in page for one in PROVINCES.values())
    assert "used_general / A11" in page
    assert "provinces_2022.csv" in page
    assert "generated.csv" in page
    assert run.digest in page
    assert MARK in page
    assert "are not the academy" in page


def test_the_pdf_says_on_every_sheet_that_values_were_generated(run: IndexRun) -> None:
    answer = browser().get(f"/index/report.pdf?run={run.pk}")
    assert answer["Content-Type"] == "application/pdf"
    assert "-synthetic.pdf" in answer["Content-Disposition"]
    document = pypdfium2.PdfDocument(answer.content)
    texts = [document[at].get_textpage().get_text_range() for at in range(len(document))]
    assert len(texts) >= 5
    assert all(MARK in text for text in texts)
    best = min(run.read("result")["ranks"].items(), key=lambda pair: pair[1])[0]
    assert f"{float(run.read('result')['scores']['INDEX'][best]):.2f}" in texts[1]
    assert any(PROVINCES[best].zh in text for text in texts), "Chinese letters are letters, not boxes"


def test_there_is_no_report_of_nothing(db: None) -> None:
    for path in ("/index/report/", "/index/report.pdf", "/index/report.pdf?run=x"):
        assert browser().get(path).status_code == 404
