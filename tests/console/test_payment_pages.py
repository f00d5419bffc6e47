"""Payments and service levels in the console: each sees its own, operators see all and what nobody could match."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.invoices.bank import import_statement
from billing.sla.terms import Draft, promise, withdraw
from tests import builders as build
from tests.billing.test_reversing import pay
from tests.builders_wallet import owe
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db
LINES = b"reference,date,amount,currency,payer,remittance\nbank/77,2026-06-01,12.00,CNY,Nobody Ltd,no invoice named\n"


def test_a_payment_is_shown_with_what_it_paid_to_whom_it_is_about_and_to_operators() -> None:
    alice = build.alice()
    invoice = owe(alice.organization, 100)
    pay(invoice, 100, "bank/1")
    for who in (alice, build.olga()):
        answer = browser_of(who).get("/payments/")
        assert f"/invoices/{invoice.pk}/" in answer.content.decode()
        assert str(invoice.number) in text_of(answer)
    assert str(invoice.number) not in text_of(browser_of(build.mallory()).get("/payments/"))


def test_only_operators_see_the_bank_lines_that_wait() -> None:
    import_statement(LINES, "june.csv", build.olga().user)
    shown = browser_of(build.olga()).get("/payments/")
    assert ("Nobody Ltd" in text_of(shown), "/billing/bankline/" in shown.content.decode()) == (True, True)
    assert "Nobody Ltd" not in text_of(browser_of(build.alice()).get("/payments/"))


def test_terms_are_shown_and_those_that_were_withdrawn_say_so() -> None:
    pool = build.a_pool()
    (terms,) = promise([Draft(pool, "deadline", [[9900, 1000]])], None)
    page = browser_of(build.alice())
    assert "10 % below 99 %" in text_of(page.get("/service-levels/"))
    withdraw(terms, None, timezone.now() - timedelta(seconds=1))
    assert "withdrawn" in text_of(page.get("/service-levels/"))
