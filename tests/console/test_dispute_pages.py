"""Disputes in the console: opened on a charge's page, answered, decided, withdrawn; each sees the forms that are open to it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import Charge, Dispute
from tests import builders as build
from tests.builders_billing import Market, make_market
from tests.builders_disputes import a_dispute
from tests.builders_settlement import DAY, UNIT, a_share
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(db: None) -> Market:
    market = make_market()
    market.alice, market.bob, market.carol = (one().organization for one in (build.alice, build.bob, build.carol))
    return market


def recent(market: Market, provider: int) -> Charge:
    """A charge of yesterday's."""
    return a_share(market, provider, at=timezone.now() - DAY)


def page(who: build.Person, path: str) -> Any:
    return browser_of(who).get(path)


def send(who: build.Person, path: str, **fields: str) -> Any:
    return browser_of(who).post(path, fields)


def forms(answer: Any, dispute: Dispute) -> set[str]:
    return set(re.findall(rf"/disputes/{dispute.pk}/(\w+)/", answer.content.decode()))


def test_a_doubt_is_told_on_the_charge_s_page_answered_and_decided_in_part(market: Market) -> None:
    alice, bob, olga, charge = build.alice("billing"), build.bob("billing"), build.olga(), recent(market, 20 * UNIT)
    here = f"/charges/{charge.pk}/"
    assert "Dispute this charge" in text_of(page(alice, here))
    assert "Dispute this charge" not in text_of(page(bob, here)), "only who pays doubts"
    opened = send(alice, f"{here}dispute/", reason="wrong_usage", text="it idled")
    dispute = Dispute.objects.get()
    mine = f"/disputes/{dispute.pk}/"
    assert (opened.status_code, opened["Location"]) == (302, mine)
    assert f"dispute no. {dispute.pk}" in text_of(page(bob, here))
    assert "Dispute this charge" not in text_of(page(alice, here))
    assert [forms(page(who, mine), dispute) for who in (alice, bob, build.carol(), olga)] == [
        {"say", "withdraw"}, {"say", "answer"}, {"say"}, {"say", "decide"},
    ]  # fmt: skip
    assert send(bob, f"{mine}answer/", position="contests", text="it did not").status_code == 302
    assert send(build.carol(), f"{mine}say/", text="see our log").status_code == 302
    assert send(olga, f"{mine}decide/", outcome="partly", amount="7", text="a third").status_code == 302
    shown = text_of(page(alice, mine))
    assert all(said in shown for said in ("it idled", "it did not", "see our log", "a third", "7.00 CNY", "refund no."))
    assert forms(page(olga, mine), dispute) == set()


def test_what_is_refused_is_told_with_what_was_filled_in_and_changes_nothing(market: Market) -> None:
    alice, olga, charge = build.alice(), build.olga(), recent(market, 20 * UNIT)
    refused = send(alice, f"/charges/{charge.pk}/dispute/", reason="nonsense", text="kept words")
    assert (refused.status_code, "kept words" in text_of(refused), Dispute.objects.count()) == (422, True, 0)
    dispute = a_dispute(market, charge, at=timezone.now())
    mine = f"/disputes/{dispute.pk}/"
    for outcome, amount in (("partly", ""), ("partly", "20"), ("upheld", "3"), ("partly", "abc")):
        told = send(olga, f"{mine}decide/", outcome=outcome, amount=amount, text="kept words")
        assert (told.status_code, "That was not done" in text_of(told), "kept words" in text_of(told)) == (422, True, True)
    assert send(alice, f"{mine}answer/", position="accepts", text="mine").status_code == 404, "not the respondent"
    assert send(alice, f"{mine}decide/", outcome="upheld", text="mine").status_code == 403
    dispute.refresh_from_db()
    assert dispute.state == "open"
    assert send(alice, f"/charges/{charge.pk}/dispute/", reason="other", text="again").status_code == 409


def test_a_dispute_is_withdrawn_once_and_its_charge_may_be_doubted_again(market: Market) -> None:
    alice, charge = build.alice(), recent(market, 20 * UNIT)
    dispute = a_dispute(market, charge, at=timezone.now())
    assert send(alice, f"/disputes/{dispute.pk}/withdraw/").status_code == 302
    again = send(alice, f"/disputes/{dispute.pk}/withdraw/")
    assert (again.status_code, "is withdrawn" in text_of(again)) == (409, True)
    assert "Dispute this charge" in text_of(page(alice, f"/charges/{charge.pk}/"))


def test_a_charge_is_not_offered_for_doubt_once_it_is_too_late_or_the_platform_pays(market: Market, settings: Any) -> None:
    alice, free = build.alice(), a_share(market, UNIT, payer="platform", at=timezone.now() - DAY)
    late = a_share(market, UNIT, at=timezone.now() - (settings.DISPUTE_DAYS + 1) * DAY)
    for charge in (free, late):
        assert "Dispute this charge" not in text_of(page(alice, f"/charges/{charge.pk}/"))


def test_disputes_are_listed_to_their_parties_and_to_nobody_else(market: Market) -> None:
    dispute = a_dispute(market, recent(market, 20 * UNIT), at=timezone.now())
    link = f"/disputes/{dispute.pk}/"
    for who in (build.alice(), build.bob(), build.carol(), build.olga()):
        assert link in page(who, "/disputes/?state=open").content.decode()
        assert link not in page(who, "/disputes/?state=decided").content.decode()
    assert link not in page(build.mallory(), "/disputes/").content.decode()
    assert page(build.mallory(), link).status_code == 404


def test_more_disputes_cost_no_more_statements(market: Market) -> None:
    client: Any = browser_of(build.alice())
    counts = []
    for more in (1, 3):
        for _ in range(more):
            dispute = a_dispute(market, *(recent(market, UNIT) for _ in range(more)), at=timezone.now())
        for path in ("/disputes/", f"/disputes/{dispute.pk}/"):
            with CaptureQueriesContext(connection) as asked:
                assert client.get(path).status_code == 200
            counts.append(len(asked))
    assert counts[:2] == counts[2:]
