"""Statements, charges and the trial balance through HTTP: each party sees its own money and nobody else's."""

from __future__ import annotations

import csv
import io
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.models import Charge
from billing.queries import Statement, all_lines
from billing.services import charge_task
from core.spreadsheets import safe_cell
from marketplace.models import Task
from tests import builders as build
from tests.builders_billing import (
    Market,
    make_agent,
    make_attempt,
    make_market,
    make_need,
    make_offer,
    make_pool,
    make_task,
    make_usage,
    make_version,
)

PERIOD = "from=2020-01-01&to=2100-01-01"


@pytest.fixture
def market(db: None) -> Market:
    """The cast's market: 0.1 CNY of resources and 0.02 CNY of fee per unit, a tenth of it the platform's."""
    pool = make_pool(build.bob().organization)
    offer = make_offer(pool, rates={"core_second": "0.1"})
    version = make_version(build.carol().organization)
    parties = (build.alice().organization, build.bob().organization, build.carol().organization)
    return Market(*parties, pool, make_agent(pool), offer, version)


def charged(market: Market, units: int = 1) -> Task:
    task = make_task(market, units=units, terms={"fee_per_unit": "0.02", "platform_basis_points": 1000})
    need = make_need()
    for _ in range(units):
        make_usage(market, task, make_attempt(market, task, need), core_ms=1000)
    assert charge_task(task.pk)
    return task


def get(person: Any, path: str) -> Any:
    return build.client_of(person).get(f"/api/v1/{path}")


@pytest.mark.parametrize(
    ("who", "party", "share"), [("alice", "user", "0.240000"), ("bob", "provider", "0.180000"), ("carol", "publisher", "0.036000")]
)
def test_each_party_reads_what_it_owes_or_earns(market: Market, who: str, party: str, share: str) -> None:
    task = charged(market, 2)
    answer = get(getattr(build, who)(), f"statements?party={party}&{PERIOD}")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["total"], body["currency"], body["next"]) == (share, "CNY", None)
    [line] = body["lines"]
    assert (line["task"], line["units"], line["core_seconds"]) == (str(task.pk), 2, "2")
    assert (line["amount"], line["share"]) == ("0.240000", share)
    assert line["pool"] == market.pool.identifier


def test_a_stranger_reads_an_empty_statement(market: Market) -> None:
    task = charged(market)
    for party in ("user", "provider", "publisher"):
        body = get(build.mallory(), f"statements?party={party}&{PERIOD}").json()
        assert (body["total"], body["lines"]) == ("0.000000", [])
    assert get(build.mallory(), f"tasks/{task.pk}/charges").status_code == 404


@pytest.mark.parametrize("group", ["task", "capability", "pool", "day", "month"])
def test_every_grouping_adds_up_to_the_ledger(market: Market, group: str) -> None:
    charged(market, 2)
    charged(market)
    body = get(build.alice(), f"statements?party=user&group={group}&{PERIOD}").json()
    assert sum(float(line["share"]) for line in body["lines"]) == pytest.approx(float(body["total"]))
    assert all(group in line for line in body["lines"])


def test_normalised_work_stands_beside_money_per_month_of_the_readers_zone_customer_and_pool(market: Market) -> None:
    task = make_task(market, units=1, terms={"fee_per_unit": "0", "platform_basis_points": 0})
    make_usage(market, task, make_attempt(market, task, make_need()), core_ms=1000, fp32_gflop=7_200_000)
    assert charge_task(task.pk)
    moment = Charge.objects.get(task=task, kind="usage").charged_at
    for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
        type(market.bob).objects.filter(pk=market.bob.pk).update(zone=zone)
        [line] = get(build.bob(), f"statements?party=provider&group=month&{PERIOD}").json()["lines"]
        assert line["month"] == f"{moment.astimezone(ZoneInfo(zone)):%Y-%m}"
        assert (line["organization"], line["pool"]) == (market.alice.slug, market.pool.identifier)
        assert (line["fp32_tflop"], line["fp32_tflops_hours"], line["share"]) == ("7200", "2", "0.100000")


def test_a_period_includes_its_beginning_and_excludes_its_end(market: Market) -> None:
    charged(market)
    assert get(build.alice(), "statements?party=user&from=2020-01-01&to=2020-02-01").json()["lines"] == []
    assert len(get(build.alice(), "statements?party=user").json()["lines"]) == 1


def test_pages_follow_each_other_without_a_gap(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.queries.TASKS_PER_PAGE", 2)
    tasks = [charged(market) for _ in range(5)]
    seen: list[str] = []
    after = ""
    for _ in range(3):
        body = get(build.alice(), f"statements?party=user&{PERIOD}{after}").json()
        seen += [line["task"] for line in body["lines"]]
        after = f"&after={body['next']}"
    assert seen == [str(task.pk) for task in tasks]
    assert body["next"] is None


def test_the_csv_file_holds_every_line(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.queries.TASKS_PER_PAGE", 2)
    for _ in range(5):
        charged(market)
    client = build.client_of(build.bob())
    answer = client.get(f"/api/v1/statements.csv?party=provider&{PERIOD}", headers={"Accept": "text/csv"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/csv; charset=utf-8")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))  # type: ignore[attr-defined]
    assert [row["share"] for row in rows] == ["0.090000"] * 5
    assert {row["currency"] for row in rows} == {"CNY"}
    assert "day" not in rows[0]


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_never_runs_a_cell(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


@pytest.mark.parametrize("number", ["1", "-1", "0.5", "-0.000001"])
def test_numbers_stay_numbers(number: str) -> None:
    assert safe_cell(number) == number


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "party"),
        ("party=boss", "party"),
        ("party=user&from=yesterday", "from"),
        ("party=user&from=0001-01-01", "from"),
        ("party=user&from=2026-02-30", "from"),
        ("party=user&from=2026-03-02&to=2026-03-01", "to"),
        ("party=user&group=colour", "group"),
        ("party=user&currency=yuan", "currency"),
        ("party=user&after=7", "after"),
        ("party=user&since=2026-01-01", "since"),
    ],
)
def test_a_bad_parameter_is_named(market: Market, query: str, field: str) -> None:
    for path in ("statements", "statements.csv"):
        answer = get(build.alice(), f"{path}?{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_a_task_shows_its_charges_with_lines_and_entries(market: Market) -> None:
    task = charged(market)
    [charge] = get(build.alice(), f"tasks/{task.pk}/charges").json()["results"]
    assert (charge["payer"], charge["reason"], charge["amount"]) == ("user", "valid/delivered", "0.120000")
    assert charge["split"] == {"provider": "0.090000", "publisher": "0.018000", "platform": "0.012000"}
    assert [line["meter"] for line in charge["lines"]] == ["core_second", "publisher_fee"]
    assert charge["entry"]["key"].startswith(f"usage/{task.pk}/")
    assert charge["pool"] == market.pool.identifier


def test_a_task_that_is_not_charged_yet_shows_none(market: Market) -> None:
    task = make_task(market, "running")
    assert get(build.alice(), f"tasks/{task.pk}/charges").json()["results"] == []


def test_operators_see_a_balanced_ledger(market: Market) -> None:
    charged(market)
    body = get(build.olga(), "ledger/trial-balance").json()
    assert body["balanced"] is True
    balances = {account["kind"]: account["balance"] for account in body["accounts"]}
    assert balances == {
        "user_receivable": "0.120000",
        "provider_payable": "-0.090000",
        "publisher_payable": "-0.018000",
        "platform_revenue": "-0.012000",
    }


def test_only_operators_see_the_ledger_and_viewers_see_no_money(market: Market) -> None:
    assert get(build.alice(), "ledger/trial-balance").status_code == 403
    assert get(build.alice("viewer"), "statements?party=user").status_code == 403
    assert get(build.alice("billing"), "statements?party=user").status_code == 200


def test_an_export_reads_page_by_page(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billing.queries.TASKS_PER_PAGE", 1)
    tasks = [charged(market) for _ in range(3)]
    statement = Statement("user", market.alice, "CNY", tasks[0].created_at, tasks[0].created_at.replace(year=2100))
    assert [len(lines) for lines in all_lines(statement)] == [1, 1, 1, 0]


def test_another_market_does_not_leak_into_a_statement(market: Market) -> None:
    other = make_market()
    charged(other)
    assert get(build.alice(), f"statements?party=user&{PERIOD}").json()["lines"] == []
