"""Payouts by HTTP: payees see their own, operators gather, approve, send, cancel and retry."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tests import builders as build
from tests.builders_billing import Market, make_market
from tests.builders_settlement import DAY, LATER, UNIT, a_share, invoiced

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(db: None) -> Market:
    market = make_market()
    market.bob, market.carol = build.bob().organization, build.carol().organization
    return market


def post(path: str, body: Any = None) -> Any:
    return build.client_of(build.olga()).post(f"/api/v1/{path}", body or {}, format="json")


def test_a_share_becomes_money_and_both_payees_can_follow_theirs(market: Market) -> None:
    charge = a_share(market, 20 * UNIT, 12 * UNIT)
    bob, mallory = build.client_of(build.bob("billing")), build.client_of(build.mallory())
    (line,) = bob.get("/api/v1/payables?party=provider").json()["results"]
    assert (line["charge"], line["share"], line["state"], line["due_at"]) == (charge.pk, "20.000000", "unpaid", None)
    invoiced(charge)
    made = post("payout-runs").json()
    assert sorted(one["organization"] for one in made["payouts"]) == ["bobs-pools", "carols-programs"]
    assert post("payout-runs").json() == {"run": None, "payouts": []}
    for payout in made["payouts"]:
        assert post(f"payouts/{payout['id']}/approve").json()["state"] == "approved"
    assert post("payouts/send").json() == {"paid": 2, "failed": 0, "pending": 0}
    (payout,) = bob.get("/api/v1/payouts").json()["results"]
    assert (payout["state"], payout["amount"]) == ("paid", "20.000000")
    (paid,) = bob.get(f"/api/v1/payouts/{payout['id']}/lines").json()["results"]
    assert charge.usage is not None
    assert (paid["charge"], paid["task"], paid["attempt"]) == (charge.pk, str(charge.task_id), charge.usage.attempt_id)
    assert bob.get(f"/api/v1/payouts/{payout['id']}").json()["attempts"][0]["key"] == f"payout/{payout['id']}/1"
    (line,) = bob.get("/api/v1/payables?party=provider").json()["results"]
    assert (line["state"], line["payout"]) == ("paid", payout["id"])
    assert mallory.get("/api/v1/payouts").json()["results"] == []
    assert mallory.get(f"/api/v1/payouts/{payout['id']}").status_code == 404
    assert mallory.get("/api/v1/payables?party=provider").json()["results"] == []


def test_operators_cancel_and_retry_and_are_told_why_not(market: Market, settings: Any) -> None:
    invoiced(a_share(market, 20 * UNIT))
    settings.SANDBOX_REFUSES = {"bobs-pools"}
    (payout,) = post("payout-runs").json()["payouts"]
    refused = post(f"payouts/{payout['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "payout_moved")
    post(f"payouts/{payout['id']}/approve")
    assert post("payouts/send").json()["failed"] == 1
    assert post(f"payouts/{payout['id']}/retry").json()["state"] == "approved"
    told = post(f"payouts/{payout['id']}/cancel", {"reason": "another bank"}).json()
    assert (told["state"], told["reason"], [one["state"] for one in told["attempts"]]) == ("cancelled", "another bank", ["failed"])
    assert len(post("payout-runs").json()["payouts"]) == 1


def test_a_statement_as_csv_holds_the_period_that_was_asked_for(market: Market) -> None:
    a_share(market, 20 * UNIT)
    a_share(market, 21 * UNIT, at=LATER)
    bob = build.client_of(build.bob())
    answer = bob.get(f"/api/v1/payables.csv?party=provider&from={LATER - DAY:%Y-%m-%d}")
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert [(row["share"], row["state"], row["due_at"]) for row in rows] == [("21.000000", "unpaid", "")]
    assert len(bob.get("/api/v1/payables?party=provider").json()["results"]) == 2
    assert bob.get("/api/v1/payables?party=alice").status_code == 422
    assert bob.get("/api/v1/payables").status_code == 422


def test_pages_of_shares_go_on_where_the_last_ended(market: Market) -> None:
    for _ in range(3):
        a_share(market, UNIT)
    bob = build.client_of(build.bob())
    first = bob.get("/api/v1/payables?party=provider&limit=2").json()
    second = bob.get(first["next"]).json()
    assert (len(first["results"]), len(second["results"]), second["next"]) == (2, 1, None)
