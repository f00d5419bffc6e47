"""Disputes by HTTP: a journey of all parties, bad input, and the evidence that is checked without the platform."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any, Final

import pytest
from django.utils import timezone

from billing.models import Charge, Dispute
from billing.services import charge_task
from gridfare.evidence import Refuted, canonical, check
from marketplace.models import Task, WebhookEndpoint, WebhookEvent
from tests import builders as build
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage
from tests.builders_disputes import a_dispute, decided, on_a_line
from tests.builders_settlement import DAY, LATER, UNIT, a_share

pytestmark = pytest.mark.django_db
WHY: Final = {"reason": "wrong_result", "text": "half of the frames are black"}


@pytest.fixture
def market(db: None) -> Market:
    market = make_market()
    market.alice, market.bob, market.carol = (one().organization for one in (build.alice, build.bob, build.carol))
    return market


def post(who: build.Person, path: str, body: Any) -> Any:
    return build.client_of(who).post(f"/api/v1/disputes{path}", body, format="json")


def get(who: build.Person, path: str = "") -> Any:
    return build.client_of(who).get(f"/api/v1/disputes{path}")


def recent(market: Market, provider: int, publisher: int = 0) -> Charge:
    """A charge of yesterday's."""
    return a_share(market, provider, publisher, at=timezone.now() - DAY)


def test_a_doubt_becomes_a_credit_note_and_every_party_can_follow_it(market: Market) -> None:
    alice, bob, carol, olga = build.alice("billing"), build.bob("billing"), build.carol(), build.olga()
    for person in (alice, bob, carol):
        WebhookEndpoint.objects.create(organization=person.organization, url="https://example.com/h", types=["dispute.*"])
    first, second = recent(market, 20 * UNIT, 5 * UNIT), recent(market, 10 * UNIT)
    invoice = on_a_line([first, second])
    answered = post(alice, "", WHY | {"invoice": invoice.pk, "lines": [1]})
    assert answered.status_code == 201, answered.json()
    (made,) = answered.json()["disputes"]
    assert (made["customer"], made["respondent"], made["publisher"]) == ("acme", "bobs-pools", "carols-programs")
    assert (made["state"], made["charges"], made["disputed"]) == ("open", 2, "35.000000")
    payables = build.client_of(bob).get("/api/v1/payables?party=provider").json()["results"]
    assert {line["state"] for line in payables} == {"disputed"}
    mine = f"/{made['id']}"
    told = post(bob, "/answer", {"disputes": [made["id"]], "position": "contests", "text": "they were fine here"})
    assert told.json()["disputes"][0]["position"] == "contests"
    assert post(carol, f"{mine}/messages", {"text": "see our log"}).status_code == 201
    decision = {"dispute": made["id"], "outcome": "partly", "amount": "7", "text": "seven of thirty frames"}
    assert post(olga, "/decide", {"decisions": [decision]}).json()["disputes"][0]["awarded"] == "7.000000"
    shown = get(carol, mine).json()
    assert [one["role"] for one in shown["messages"]] == ["customer", "provider", "publisher", "platform"]
    back = get(alice, f"{mine}/charges").json()["results"]
    assert [(one["charge"], one["awarded"], one["line"]) for one in back] == [
        (first.pk, "5.000000", 1),
        (second.pk, "2.000000", 1),
    ]
    assert back[0]["credit_note"].startswith("GF-C-")
    invoiced = build.client_of(alice).get(f"/api/v1/invoices/{invoice.pk}").json()
    assert (invoiced["credited"], len(invoiced["credit_notes"])) == ("7.000000", 1)
    payables = build.client_of(bob).get("/api/v1/payables?party=provider").json()["results"]
    refunds = {(one["share"], one["units"]) for one in payables if one["kind"] == "refund"}
    assert refunds == {("-2.000000", 0), ("-4.000000", 0)}
    assert get(build.mallory(), mine).status_code == 404
    assert get(build.mallory()).json()["results"] == []
    for person in (alice, bob, carol):
        events = WebhookEvent.objects.filter(organization=person.organization).order_by("number")
        assert [one.type for one in events] == ["dispute.opened", "dispute.answered", "dispute.decided"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"charges": []}, "charges.non_field_errors"),
        ({}, "charges"),
        ({"charges": [1], "invoice": 1, "lines": [1]}, "charges"),
        ({"invoice": 1}, "charges"),
        ({"charges": ["x"]}, "charges.0"),
        ({"charges": [1], "reason": "mood"}, "reason"),
        ({"charges": [1], "text": "x" * 4001}, "text"),
        ({"charges": [1], "sum": 1}, "sum"),
    ],
)
def test_bad_input_names_its_field(market: Market, body: dict[str, Any], field: str) -> None:
    answered = post(build.alice(), "", WHY | body)
    assert (answered.status_code, answered.json()["field"].split(".")[0]) == (422, field.split(".", maxsplit=1)[0])
    assert not Dispute.objects.exists()


def test_refusals_have_codes_and_leave_nothing(market: Market, settings: Any) -> None:
    alice, olga = build.alice(), build.olga()
    charge, old = recent(market, 20 * UNIT), a_share(market, UNIT)
    assert post(alice, "", WHY | {"charges": [2**62]}).json()["code"] == "not_found"
    assert post(alice, "", WHY | {"invoice": 2**62, "lines": [1]}).json()["code"] == "not_found"
    assert post(alice, "", WHY | {"charges": [charge.pk, old.pk]}).json()["code"] == "dispute_too_late"
    assert post(build.alice("viewer"), "", WHY | {"charges": [charge.pk]}).status_code == 403
    made = post(alice, "", WHY | {"charges": [charge.pk]}).json()["disputes"][0]["id"]
    again = post(alice, "", WHY | {"charges": [charge.pk]})
    assert (again.status_code, again.json()["code"], again.json()["field"]) == (409, "charge_disputed", "charges")
    for part in ({"outcome": "partly"}, {"outcome": "upheld", "amount": "1"}, {"outcome": "partly", "amount": "-1"}):
        answered = post(olga, "/decide", {"decisions": [{"dispute": made, "text": "x"} | part]})
        assert answered.status_code == 422, part
    too_much = post(olga, "/decide", {"decisions": [{"dispute": made, "outcome": "partly", "amount": "20", "text": "x"}]})
    assert (too_much.json()["code"], too_much.json()["field"]) == ("award_invalid", "amount")
    twice = [{"dispute": made, "outcome": "upheld", "text": "x"}] * 2
    assert post(olga, "/decide", {"decisions": twice}).json()["code"] == "dispute_twice"
    assert post(alice, "/withdraw", {"disputes": [made]}).json()["disputes"][0]["state"] == "withdrawn"
    assert post(alice, "/withdraw", {"disputes": [made]}).json()["code"] == "dispute_moved"
    assert Dispute.objects.count() == 1


def a_bundle(market: Market) -> bytes:
    task = make_task(market)
    usage = make_usage(market, task, make_attempt(market, task, make_need()), core_ms=30_000_000)
    Task.objects.filter(pk=task.pk).update(state="delivered", ended_at=LATER)
    assert charge_task(task.pk)
    charge = Charge.objects.get(usage=usage)
    on_a_line([charge])
    dispute = a_dispute(market, charge, at=charge.charged_at)
    decided(dispute, "partly", charge.amount_micros // 3, at=charge.charged_at + timedelta(hours=1))
    content: bytes = get(build.bob(), f"/{dispute.pk}/bundle").content
    assert content == get(build.olga(), f"/{dispute.pk}/bundle").content
    return content


def test_the_evidence_proves_itself_without_the_platform_and_a_changed_one_does_not(market: Market) -> None:
    content = a_bundle(market)
    found = check(content)
    told = json.loads(content)
    (one,) = told["bundle"]["charges"]
    assert (found.state, found.charges, found.digest) == ("decided", 1, told["digest"])
    assert one["evidence"]["usage"]["core_ms"] == 30_000_000
    assert one["attempt"]["attempt"] == one["evidence"]["usage"]["attempt"]
    assert one["evidence"]["price"]["rates"]["core_second"] == "0.0001"
    assert one["refund"]["amount"] == f"-{one['disputed']['awarded']}"
    assert [message["role"] for message in told["bundle"]["messages"]] == ["customer", "platform"]
    for lie in lies(told["bundle"]):
        with pytest.raises(Refuted, match="changed"):
            check(json.dumps({"bundle": lie, "digest": told["digest"]}).encode())


@pytest.mark.parametrize("cut", [0, 1, 10, 400])
def test_a_file_that_breaks_off_is_refuted(market: Market, cut: int) -> None:
    with pytest.raises(Refuted):
        check(b'{"bundle":{"format":"gridfare-dispute-1"},"digest":""}'[:cut] or b"")


def lies(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """The bundle with one thing changed."""

    def changed(*path: Any, to: Any) -> dict[str, Any]:
        copy: dict[str, Any] = json.loads(json.dumps(bundle))
        place: Any = copy
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = to
        return copy

    first: tuple[Any, ...] = ("charges", 0)
    return [
        changed(*first, "evidence", "lines", 0, "unit_price", to="0.0002"),
        changed(*first, "evidence", "meters", "core_second", to="1"),
        changed(*first, "evidence", "split", "platform", to="9.000000"),
        changed(*first, "disputed", "awarded", to="9000.000000"),
        changed(*first, "refund", "amount", to="-0.000001"),
        changed("dispute", "awarded", to="0.000001"),
    ]


def test_a_forger_who_computes_the_digest_again_is_found_by_the_sums(market: Market) -> None:
    for lie in lies(json.loads(a_bundle(market))["bundle"]):
        digest = hashlib.sha256(canonical(lie)).hexdigest()
        with pytest.raises(Refuted, match="charge|sum"):
            check(json.dumps({"bundle": lie, "digest": digest}).encode())
