"""Usage by whatever one asks, with the work in FP32 and the money beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils.http import urlencode

from billing.services import charge_tasks
from console.usage import ROWS, Line, lines_by
from marketplace.models import Membership
from metering.queries import Asked
from tests import builders as build
from tests.billing.test_invoice_doors import billed
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage
from tests.builders_periods import MARCH, at, close, period_market, used
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db
MONTH = {"from": "2026-03-01", "to": "2026-03-31", "zone": "Asia/Shanghai"}


def work(market: Market, end: str, project: str = "film", cores: int = 1, fee: str = "0.002") -> None:
    """A delivered task of one attempt of an hour that ended so by Shanghai's clocks; 1 CNY a core and hour, and its fee."""
    ended = at(end)
    task = make_task(market, labels={"project": project, "team": "甲组"}, terms={"fee_per_unit": "0", "fee_per_task": fee})
    attempt = make_attempt(market, task, make_need(), leased_at=ended - timedelta(hours=1), ended_at=ended, unit="done")
    numbers = {"wall_ms": 3_600_000, "core_ms": 3_600_000 * cores, "held_core_ms": 3_600_000 * cores, "bytes_in": 0, "bytes_out": 0}
    make_usage(market, task, attempt, fp32_gflop=Decimal(7200000), **numbers)
    type(task).objects.filter(pk=task.pk).update(ended_at=ended)
    charge_tasks([task.pk])


def a_market() -> Market:
    return make_market(rates={"core_second": "0.000277777777"})


def asked(client: Client, **query: str) -> list[tuple[tuple[str, ...], Line]]:
    answer: Any = client.get(f"/usage/?{urlencode(MONTH | query)}")
    assert (answer.status_code, answer.context["problem"]) == (200, "")
    return [(line.key, line) for _, line in answer.context["lines"]]


def of(market: Market, role: str = "alice") -> Client:
    organization = {"alice": market.alice, "bob": market.bob}[role]
    user = build.a_user(f"{role}-reads")
    Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": "billing"})
    return browser_of(build.Person(user, organization, "billing"))


def test_days_are_those_of_the_zone_that_is_asked_for() -> None:
    market = a_market()
    work(market, "2026-03-03 06:00")
    client = of(market)
    assert [key for key, _ in asked(client, by="day")] == [("2026-03-03",)]
    assert [key for key, _ in asked(client, by="day", zone="America/New_York")] == [("2026-03-02",)]


def test_usage_work_and_money_stand_on_one_line_by_project_and_pool() -> None:
    market = a_market()
    work(market, "2026-03-03 06:00", "film", cores=2)
    work(market, "2026-03-04 06:00", "东方 <b>")
    client = of(market)
    lines = dict(asked(client, by="project"))
    film = lines["film",]
    assert (film.meters["core_second"], film.work, film.work_hours) == ("7200", "7200", "2")
    assert film.money == [("CNY", "2.002000")]
    pools = dict(asked(client, by="project", then="pool"))
    assert pools["film", market.pool.identifier].money == [("CNY", "2.000000")]
    assert pools["film", ""].money == [("CNY", "0.002000")]  # a task's fee is of no pool
    assert {key[1] for key, _ in asked(client, by="capability", label="team")} == {"甲组"}
    assert "东方 &lt;b&gt;" in client.get(f"/usage/?{urlencode(MONTH | {'by': 'project'})}").content.decode()


def test_the_sums_beside_the_lines_are_the_lines_and_the_months() -> None:
    market = period_market("monthly_peak", {"held_cores": "10"})
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market, MARCH)
    page: Any = of(market).get(f"/usage/?{urlencode(MONTH)}")
    assert page.context["months"] == [("CNY", "40.000000")]
    assert (page.context["total"].meters["core_second"], page.context["total"].money) == ("2400", [])


def test_a_provider_sees_what_its_pools_did_and_earned() -> None:
    market = a_market()
    work(market, "2026-03-03 06:00")
    (line,) = (line for _, line in asked(of(market, "bob"), party="provider"))
    assert (line.meters["core_second"], line.money) == ("3600", [("CNY", "0.950000")])


def test_a_stranger_sees_nothing_of_it() -> None:
    market = a_market()
    work(market, "2026-03-03 06:00")
    billed()
    assert asked(browser_of(build.mallory()), by="project") == []
    assert asked(browser_of(build.mallory()), by="project", party="provider") == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"by": "colour"}, "one of"),
        ({"from": "yesterday"}, "a day"),
        ({"from": "2026-04-02"}, "ends before it begins"),
        ({"after": "x"}, "cursor"),
        ({"label": "\x07"}, "one of"),
    ],
)
def test_what_is_not_understood_is_said_and_nothing_breaks(query: dict[str, str], said: str) -> None:
    answer: Any = browser_of(build.alice()).get(f"/usage/?{urlencode(MONTH | query)}")
    assert answer.status_code == 200
    assert said in answer.context["problem"]


def test_pages_go_on_where_the_one_before_ended_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    market = a_market()
    for number in range(6):
        work(market, "2026-03-03 06:00", f"p{number}", cores=number + 1)
    monkeypatch.setattr("console.usage.ROWS", 17)  # two groups of seven sums, and a part of a third
    client = of(market)
    found, query = [], {}
    while True:
        answer: Any = client.get(f"/usage/?{urlencode(MONTH | {'by': 'project'} | query)}")
        found += [(line.key[0], line.meters["core_second"], line.money[0][1]) for _, line in answer.context["lines"]]
        if not answer.context["more"]:
            break
        query = dict(pair.split("=") for pair in answer.context["more"].split("&"))
        query = {"after": query["after"].replace("%3D", "=")}
    assert found == [(f"p{number}", str(3600 * (number + 1)), f"{number + 1}.002000") for number in range(6)]


def test_the_csv_of_a_question_is_the_api_s() -> None:
    market = a_market()
    work(market, "2026-03-03 06:00")
    client = of(market)
    page: Any = client.get(f"/usage/?{urlencode(MONTH | {'by': 'project'})}")
    answer: Any = client.get(f"/api/v1/usage.csv?{page.context['csv']}")
    assert "film,core_second,second,3600" in b"".join(answer.streaming_content).decode()


def test_the_page_says_how_long_a_machine_of_one_tflops_would_have_worked() -> None:
    assert "标准算力" in text_of(browser_of(build.alice()).get("/usage/"))
    assert Line((), work="5400").work_hours == "1.5"


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York", "Pacific/Chatham"])
def test_money_by_day_adds_up_to_the_money_of_the_window(zone: str) -> None:
    market = a_market()
    for number in range(3):
        work(market, f"2026-03-0{number + 2} 1{number}:30", cores=number + 1)
    question = Asked("user", market.alice.pk, at("2026-03-01 00:00"), at("2026-03-06 00:00"), zone, ("day",), limit=ROWS)
    days = [Decimal(amount) for line in lines_by(question)[0] for _, amount in line.money]
    (total,) = lines_by(replace(question, groups=()))[0]
    assert ([("CNY", f"{sum(days):.6f}")], len(days)) == (total.money, 3)
