"""The index on pages: from ranks to the row of a file, marked where values are generated."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from index.demo import fill
from index.models import IndexRun, Observation
from index.regions import PROVINCES
from tests import builders as build

pytestmark = pytest.mark.django_db
BANNER = "Generated values."


@pytest.fixture
def run() -> IndexRun:
    found = fill((2022,))
    assert found
    return found


def page(path: str, who: Any = None) -> str:
    client = Client()
    client.force_login((who or build.alice()).user)
    answer = client.get(path)
    assert answer.status_code == 200, answer.content.decode()[:500]
    return answer.content.decode()


def test_one_goes_from_the_ranks_to_a_province_to_a_value_to_its_row(run: IndexRun) -> None:
    home = page("/index/")
    assert BANNER in home
    assert home.count('class="tile ') == 31
    assert all(one.en in home for one in PROVINCES.values())
    province = page(f"/index/provinces/440000/?run={run.pk}")
    assert "Guangdong is number" in province
    number = Observation.objects.get(variable="gdp", region="440000", vintage="2025-03-31").pk
    assert f"/index/observations/{number}/" in province
    observation = page(f"/index/observations/{number}/")
    assert "provinces_2022.csv, row" in observation
    assert "国家统计局" in observation
    assert "2023-03-31" in observation, "what was said before it"


def test_indicators_show_their_formula_and_every_province(run: IndexRun) -> None:
    leaf = page("/index/indicators/A12/")
    assert "used_general / A11" in leaf
    assert len(re.findall(r'href="/index/provinces/\d{6}/', leaf)) == 31
    assert "generated" in leaf
    assert "Computed as" not in page("/index/indicators/A/")


def test_the_method_is_written_from_the_definition(run: IndexRun) -> None:
    method = page("/index/method/")
    assert run.definition.digest in method
    assert "users_5g / mobile_users" in method
    assert "are not the academy" in method


def test_editions_are_listed_and_batches_are_for_operators(run: IndexRun) -> None:
    assert "Edition 1" in page("/index/editions/")
    assert "provinces_2022.csv" in page("/index/data/", build.olga())
    client = Client()
    client.force_login(build.alice().user)
    assert client.get("/index/data/").status_code == 403


def test_what_is_not_there_is_said_and_a_market_without_an_index_has_a_page_that_says_so() -> None:
    client = Client()
    client.force_login(build.alice().user)
    for path in ("/index/", "/index/?run=9", "/index/?run=x", "/index/observations/1/", "/index/method/"):
        assert client.get(path).status_code == 404
    fill((2022,))
    for path in ("/index/provinces/999999/", "/index/indicators/X/", f"/index/?run={2**70}"):
        assert client.get(path).status_code == 404
    assert Client().get("/index/").status_code == 302


def test_a_page_asks_few_questions_however_many_values_it_shows(run: IndexRun) -> None:
    client = Client()
    client.force_login(build.alice().user)
    client.get("/index/")
    for path in ("/index/", "/index/provinces/110000/", "/index/indicators/A11/"):
        with CaptureQueriesContext(connection) as queries:
            client.get(path)
        assert len(queries) <= 9, path
