"""Comparisons and years on pages: numbers where runs are alike, a break where they are not."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from index.analysis.comparing import compare
from index.demo import fill, fill_series
from index.models import IndexRun, WeightSet
from index.running.history import side_of
from index.running.services import Wanted, run_index
from tests import builders as build

YEARS = (2021, 2022)
pytestmark = pytest.mark.django_db


@pytest.fixture
def runs() -> list[IndexRun]:
    fill((2020, *YEARS))
    return fill_series(YEARS)


def page(path: str, status: int = 200) -> str:
    client = Client()
    client.force_login(build.alice().user)
    answer = client.get(path)
    assert answer.status_code == status, (path, answer.content.decode()[:500])
    return answer.content.decode()


def test_runs_that_are_alike_have_changes_and_others_a_break(runs: list[IndexRun]) -> None:
    shown = page(f"/index/compare/?run={runs[0].pk}&other={runs[1].pk}")
    found = compare(side_of(runs[0]), side_of(runs[1])).regions[0]
    assert f"{found.change:+.2f}" in shown
    assert "Not comparable" not in shown
    assert "Generated values." in shown
    assert shown.count('class="level3"') == 22, "one province in detail"
    assert shown.count('"type": "line"') == 31
    assert "Ningxia</span>" not in page(f"/index/compare/?run={runs[0].pk}&other={runs[1].pk}&province=640000")
    weights = WeightSet.objects.get(definition=runs[0].definition)
    other = run_index(Wanted(weights, "national", "2020", parameters={"aggregate": "geometric", "draws": 100}))
    broken = page(f"/index/compare/?run={other.pk}&other={runs[1].pk}")
    assert "aggregate is geometric in one and arithmetic in the other" in broken
    assert "of data" not in broken
    assert '"type": "line"' not in broken, "no line leads over a break"
    years = page("/index/history/")
    assert len(re.findall(r'<th class="number break">', years)) == 1
    assert years.count('<td class="number break"') == 31
    assert f"run {other.pk}</a>): aggregate is" in years
    assert '"2021", "2022", "//", "2020 *"' in years
    assert "no sum" in page(f"/index/compare/?run={other.pk}&left=440000&right=110000")


def test_two_provinces_stand_side_by_side_and_bad_questions_are_answered(runs: list[IndexRun]) -> None:
    shown = page("/index/compare/?left=440000&right=110000")
    assert "Guangdong" in shown
    assert shown.count('data-label="Difference"') == 1 + 4 + 11 + 22
    assert f"/index/compare/?run={runs[1].pk}&amp;left=110000" in page("/index/provinces/110000/")
    assert f"/index/history/?run={runs[1].pk}&amp;indicator=A12" in page("/index/indicators/A12/")
    assert f"/index/compare/?run={runs[1].pk}&amp;other={runs[0].pk}" in page("/index/editions/")
    assert "Jiangsu, score" in page("/index/compare/?left=440000"), "nobody is set beside themselves"
    assert page("/index/compare/"), "the first two, where nobody was asked for"
    run = runs[0].pk
    for query in (
        "run=x", "other=x", f"other={2**70}", "other=0", "left=999999", "right=x", f"run={run}&other={run}&province=1",
    ):  # fmt: skip
        page(f"/index/compare/?{query}", 404)
    for query in ("run=x", "indicator=X", "province=1", "province=440000&province="):
        page(f"/index/history/?{query}", 404)
    page("/index/history/?indicator=%00", 422)


def test_years_are_lines_of_the_first_provinces_or_of_those_asked_for_in_few_statements(runs: list[IndexRun]) -> None:
    shown = page("/index/history/")
    assert shown.count('"type": "line"') == 5
    assert len(re.findall(r'href="/index/provinces/\d{6}/', shown)) == 31
    assert "100% generated" in shown, "of 2021 nothing is known"
    client = Client()
    client.force_login(build.alice().user)
    for path in (f"/index/compare/?run={runs[0].pk}&other={runs[1].pk}", "/index/history/"):
        client.get(path)
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        assert len(queries) <= 10, path
    two = page("/index/history/?indicator=A11&province=640000&province=150000")
    assert two.count('"type": "line"') == 2
    assert "Values in EFLOPS_FP32" in two


def test_a_market_without_an_index_has_pages_that_say_so() -> None:
    page("/index/compare/", 404)
    page("/index/history/", 404)
