"""What may still be spent, on one page."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.credit.budgets import Wanted, open_budget
from billing.credit.wallet import Gift, TopUp, give_grant, top_up
from console.credit import bar_of
from marketplace.budgets import Threshold
from marketplace.models import Budget
from marketplace.services.credit import block_organizations
from tests import builders as build
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db
CNY = 1_000_000
THRESHOLDS = [{"percent": 80, "action": "notify"}, {"percent": 100, "action": "block"}]


def fill(organization: int, number: int, days: int = 30) -> None:
    now = timezone.now()
    top_up(TopUp(f"bank/{number}", organization, "CNY", 40 * CNY))
    give_grant(Gift(f"gift/{number}", organization, "CNY", 15 * CNY, now + timedelta(days=days), f"welcome {number}"))


def test_the_page_shows_balances_budgets_and_grants() -> None:
    alice = build.alice()
    fill(alice.organization.pk, 1)
    open_budget(alice.organization, Wanted("films <b>", "project", "film", "CNY", "month", 500 * CNY, [Threshold(80, "notify")]))
    block_organizations([alice.organization.pk], "dunning", "invoice 7")
    page = browser_of(alice).get("/credit/")
    shown = text_of(page)
    for text in ("55.00 CNY", "10,055.00 CNY", "films <b>", "project film", "500.00 CNY", "welcome 1", "15.00 CNY", "invoice 7"):
        assert text in shown
    assert "films &lt;b&gt;" in page.content.decode()


def test_a_bar_says_what_is_spent_and_held_and_the_threshold_that_was_reached() -> None:
    budget = Budget(name="all", scope="organization", amount_micros=10 * CNY, spent_micros=7 * CNY, thresholds=THRESHOLDS)
    assert (bar_of(budget)["percent"], bar_of(budget)["reached"]) == (70, None)
    budget.held_micros = CNY
    assert (bar_of(budget)["percent"], bar_of(budget)["reached"].percent) == (80, 80)
    budget.held_micros = 9 * CNY
    assert (bar_of(budget)["percent"], bar_of(budget)["reached"].action) == (160, "block")


def test_the_next_grant_to_expire_stands_first() -> None:
    alice = build.alice()
    for number, days in ((1, 60), (2, 5), (3, 30)):
        fill(alice.organization.pk, number, days)
    assert [one["grant"].key for one in browser_of(alice).get("/credit/").context["grants"]] == ["gift/2", "gift/3", "gift/1"]


def test_more_budgets_and_grants_cost_no_more_statements() -> None:
    alice, counts = build.alice(), []
    client = browser_of(alice)
    client.get("/credit/")
    for number in range(1, 4):
        fill(alice.organization.pk, number)
        open_budget(alice.organization, Wanted(f"b{number}", "organization", "", "CNY", "total", CNY, [Threshold(80, "notify")]))
        with CaptureQueriesContext(connection) as asked:
            assert client.get("/credit/").status_code == 200
        counts.append(len(asked))
    assert len(set(counts)) == 1
    assert counts[0] <= 14
