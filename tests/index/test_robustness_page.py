"""How much of the ranks hangs on choices is told: which choice, which indicator, how wide the bands are."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from index.demo import fill
from index.models import IndexRun
from tests import builders as build

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def page(path: str) -> str:
    client = Client()
    client.force_login(build.alice().user)
    answer = client.get(path)
    assert answer.status_code == 200, answer.content.decode()[:500]
    return answer.content.decode()


def test_the_choices_and_indicators_that_move_ranks_are_told_most_first(run: IndexRun) -> None:
    text = page("/index/robustness/")
    told = [float(one) for one in re.findall(r'data-label="With the others">([-\d.]+)<', text)]
    assert told == sorted(told, reverse=True)
    assert len(told) == len(run.read("analysis")["sensitivity"]) == 4
    shifts = [float(one) for one in re.findall(r'data-label="Mean shift of ranks">([\d.]+)<', text)]
    assert shifts == sorted(shifts, reverse=True)
    assert len(shifts) == 22
    bands, ranks = run.read("analysis")["bands"], run.read("result")["ranks"]
    apart = sum(bands[a]["high"] < bands[b]["low"] for a in bands for b in bands if (ranks[a], a) < (ranks[b], b))
    assert f"of 465 pairs of provinces the bands tell {apart} apart" in text


def test_a_province_is_shown_beside_those_of_like_size_and_without_each_indicator(run: IndexRun) -> None:
    text = page("/index/provinces/440000/")
    beside = text[text.index("Beside provinces of like size") :]
    beside = beside[: beside.index("</table>")]
    gdp = {region: float(one[0]) for region, one in run.read("inputs")["gdp"].items()}
    nearest = sorted((region for region in gdp if region != "440000"), key=lambda one: abs(gdp[one] / gdp["440000"] - 1))[:5]
    assert re.findall(r"/index/provinces/(\d{6})/", beside) == nearest
    moved = {leaf: row["440000"] for leaf, row in run.read("analysis")["left_out"].items() if row.get("440000")}
    assert ("Without one indicator" in text) == bool(moved)


def test_the_sidebar_of_operators_leads_to_the_dashboards(run: IndexRun) -> None:
    client = Client()
    client.force_login(build.olga().user)
    assert 'href="/index/"' in client.get("/admin/index/indexrun/").content.decode()
