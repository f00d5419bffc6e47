"""What providers and publishers get, in the console: shares and how they stand, payouts and what they pay."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Payout
from billing.settlement.payouts import approve, cancel, gather
from billing.settlement.queries import Period, line_of, shares_of, standings_of
from billing.settlement.sending import send_payouts
from marketplace.models import Membership, Organization
from tests import builders as build
from tests.builders_billing import make_market
from tests.builders_invoices import APRIL, MARCH
from tests.builders_settlement import DAY, LATER, UNIT, a_payout, a_share, invoiced
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db
MUCH = 50 * UNIT  # above the least that is paid out
ALL = Period(MARCH - 90 * DAY, LATER + 90 * DAY)


def of(organization: Organization, role: str = "billing") -> Client:
    user = build.a_user(f"{role}-of-{organization.slug}")
    Membership.objects.get_or_create(organization=organization, user=user, defaults={"role": role})
    return browser_of(build.Person(user, organization, role))


def test_the_sums_by_standing_are_those_of_the_shares() -> None:
    market = make_market()
    a_share(market, 5 * MUCH, MUCH)  # not invoiced
    a_share(market, 7 * MUCH, payer="platform")
    a_share(market, -2 * MUCH, kind="delta")
    invoiced(a_share(market, 3 * MUCH, MUCH), a_share(market, 4 * MUCH))
    gather(LATER)
    approve(Payout.objects.get(organization=market.bob), build.olga().user)
    cancel(Payout.objects.get(organization=market.carol), "wrong payee")
    invoiced(a_share(market, 11 * MUCH, 2 * MUCH))
    for now in (APRIL + DAY, LATER):
        for role, payee in (("provider", market.bob), ("publisher", market.carol)):
            expected: dict[str, tuple[int, float]] = {}
            for charge in shares_of(payee, role, ALL):
                line = line_of(charge, role, now)
                shares, sum_ = expected.get(line["state"], (0, 0.0))
                expected[line["state"]] = (shares + 1, sum_ + float(line["share"]))
            told = standings_of(payee, role, ALL, now)
            assert {one["state"]: (one["shares"], one["micros"] / UNIT) for one in told} == expected
            assert len(expected) > 1


def test_a_provider_sees_each_share_of_a_month_and_when_it_goes_out() -> None:
    market = make_market()
    charge = a_share(market, 5 * UNIT, UNIT)
    page = of(market.bob).get("/payables/?month=2026-03")
    shown = text_of(page)
    assert ("5.00 CNY" in shown, "the customer has not paid yet" in shown) == (True, True)
    assert f"/charges/{charge.pk}/" in page.content.decode()
    assert "1.00 CNY" in text_of(of(market.carol).get("/payables/?month=2026-03"))
    assert "Nothing was earned" in text_of(of(market.bob).get("/payables/?month=2026-02"))


def test_who_neither_provides_nor_publishes_is_told_so() -> None:
    assert "nobody owes it anything" in text_of(browser_of(build.alice()).get("/payables/"))


def test_a_payout_is_followed_to_its_charges_and_a_stranger_s_is_not_found() -> None:
    bob = build.bob()
    payout = a_payout(bob.organization)
    approve(payout, build.olga().user)
    send_payouts()
    client = browser_of(bob)
    assert f"/payouts/{payout.pk}/" in client.get("/payouts/").content.decode()
    shown = text_of(client.get(f"/payouts/{payout.pk}/"))
    assert ("25.00 CNY" in shown, "sandbox-" in shown, "paid" in shown) == (True, True, True)
    assert f"/payouts/{payout.pk}/" not in browser_of(build.mallory()).get("/payouts/").content.decode()
    assert browser_of(build.mallory()).get(f"/payouts/{payout.pk}/").status_code == 404
    assert browser_of(build.olga()).get(f"/payouts/{payout.pk}/").status_code == 200
    assert "No payout is failed" in text_of(client.get("/payouts/?state=failed"))


def test_more_shares_cost_no_more_statements() -> None:
    market, counts = make_market(), []
    client: Any = of(market.bob)
    for more in (1, 4):
        for _ in range(more):
            a_share(market, UNIT)
        with CaptureQueriesContext(connection) as asked:
            assert client.get("/payables/?month=2026-03").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 9


def test_shares_come_in_pages() -> None:
    market = make_market()
    for _ in range(42):
        a_share(market, UNIT)
    client: Any = of(market.bob)
    page = client.get("/payables/?month=2026-03")
    older = client.get(f"/payables/?month=2026-03&before={page.context['before']}")
    assert (len(page.context["lines"]), len(older.context["lines"])) == (40, 2)
