"""What billing tells those who listen: each fact once, in the transaction that makes it, and only to whom it is about."""

from __future__ import annotations

import contextlib
from datetime import date
from typing import Any

import pytest

from billing.credit.wallet import TopUp, top_up
from billing.credit.watching import raise_alerts
from billing.invoices.closing import close_all, void_invoice
from billing.invoices.credit_notes import give_up, issue_credit_note
from billing.invoices.dunning import climb
from billing.invoices.payments import Receipt, record_payment
from billing.models import Invoice
from billing.settlement.gateways import Answer, Sandbox
from billing.settlement.payouts import approve, cancel, retry
from billing.settlement.sending import send_payouts
from billing.telling import tell_invoices
from core.errors import Conflict
from marketplace.models import Organization, WebhookEndpoint, WebhookEvent
from tests.billing.test_budgets import a_budget, held_task
from tests.builders import olga
from tests.builders_billing import Market, make_market
from tests.builders_invoices import APRIL, CENT, MARCH, make_charge
from tests.builders_settlement import DAY, a_payout
from tests.builders_wallet import owe

pytestmark = pytest.mark.django_db
SOON, LATER = APRIL + DAY / 24, APRIL + 4 * DAY  # the month is over; its grace is too


@pytest.fixture
def market(db: None) -> Market:
    made = make_market()
    listen(made.alice)
    return made


def listen(organization: Organization) -> None:
    WebhookEndpoint.objects.create(organization=organization, url="https://example.com/hook", types=["*"])


def told(organization: Organization) -> list[str]:
    return list(WebhookEvent.objects.filter(organization=organization).order_by("number").values_list("type", flat=True))


def last(organization: Organization) -> dict[str, Any]:
    data: dict[str, Any] = WebhookEvent.objects.filter(organization=organization).latest("number").data
    return data


def a_final_invoice(market: Market) -> Invoice:
    make_charge(market, 1_230_000, MARCH + DAY)
    close_all(SOON)
    close_all(LATER)
    return Invoice.objects.get(organization=market.alice, state="finalized")


def pay(invoice: Invoice, micros: int, key: str) -> None:
    mine = {"organization": invoice.organization_id, "currency": invoice.currency, "invoices": [invoice.pk]}
    record_payment(Receipt(key=key, micros=micros, method="operator", received_on=date(2026, 4, 20), **mine), LATER)


def test_an_invoice_is_told_of_when_it_is_final_overdue_and_paid_and_never_twice(market: Market) -> None:
    invoice = a_final_invoice(market)
    for _ in range(2):
        climb(LATER + 60 * DAY)
    pay(invoice, invoice.total_micros - CENT, "first")
    for _ in range(2):
        pay(invoice, CENT, "second")
    close_all(LATER)
    assert told(market.alice) == ["invoice.finalized", "invoice.overdue", "payment.received", "payment.received", "invoice.paid"]
    data = last(market.alice)
    assert (data["number"], data["state"], data["total"], data["paid"]) == (invoice.number, "paid", "1.230000", "1.230000")
    assert (data["from"], data["zone"]) == ("2026-02-28T16:00:00Z", "Asia/Shanghai")


def test_an_invoice_that_is_void_given_up_or_credited_is_told_of(market: Market) -> None:
    wrong = a_final_invoice(market)
    void_invoice(wrong, "wrong address", LATER)
    close_all(LATER)
    second = Invoice.objects.get(organization=market.alice, state="finalized")
    climb(LATER + 60 * DAY)
    give_up(second, "gone", LATER + 60 * DAY)
    third = owe(market.alice, 100)
    issue_credit_note(third, {1: third.net_micros}, "goodwill", "note/1", LATER)
    events = ["finalized", "void", "finalized", "overdue", "uncollectible", "paid"]
    assert told(market.alice) == [f"invoice.{one}" for one in events]


def test_an_invoice_paid_from_the_wallet_is_told_of(market: Market) -> None:
    owe(market.alice, 100)
    top_up(TopUp("bank/1", market.alice.pk, "CNY", 150 * CENT), LATER)
    assert told(market.alice) == ["payment.received", "invoice.paid"]


def test_what_is_taken_back_was_never_told(market: Market) -> None:
    invoice = a_final_invoice(market)
    pay(invoice, CENT, "first")
    before = told(market.alice)
    with pytest.raises(Conflict):
        void_invoice(invoice, "no", LATER)
    assert told(market.alice) == before


def test_a_payee_is_told_how_each_try_of_a_payout_ended(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    listen(market.bob)
    payout, by = a_payout(market.bob), olga().user
    approve(payout, by)
    with monkeypatch.context() as refusing:
        refusing.setattr(Sandbox, "transfer", lambda *_: Answer("failed", reason="no such account"))
        send_payouts()
        assert (told(market.bob), last(market.bob)["reason"]) == (["payout.failed"], "no such account")
        payout.refresh_from_db()
        retry(payout, by)
        send_payouts()
    payout.refresh_from_db()
    retry(payout, by)
    send_payouts()
    assert told(market.bob) == ["payout.failed", "payout.failed", "payout.paid"]
    assert (last(market.bob)["amount"], last(market.bob)["state"]) == ("25.000000", "paid")
    assert told(market.alice) == []


def test_a_payee_is_told_once_that_an_operator_withdrew_a_payout(market: Market) -> None:
    listen(market.bob)
    payout = a_payout(market.bob)
    for _ in range(2):
        with contextlib.suppress(Conflict):
            cancel(payout, "another bank")
    assert (told(market.bob), told(market.alice)) == (["payout.cancelled"], [])
    data = last(market.bob)
    assert (data["id"], data["reason"], data["amount"], data["reserve"]) == (payout.pk, "another bank", "25.000000", "0.000000")


def test_a_threshold_of_a_budget_is_told_once(market: Market) -> None:
    budget = a_budget(market, 10)
    held_task(market, "8")
    for _ in range(2):
        raise_alerts()
    assert told(market.alice) == ["budget.reached"]
    data = last(market.alice)
    assert (data["id"], data["percent"], data["action"], data["held"]) == (budget.pk, 80, "notify", "8.000000")


def test_where_nobody_listens_nothing_but_the_question_is_asked(django_assert_num_queries: Any) -> None:
    invoice = owe(make_market().alice, 100)
    with django_assert_num_queries(1):
        assert tell_invoices([invoice.pk], "finalized", LATER) == 0
    assert not WebhookEvent.objects.exists()
