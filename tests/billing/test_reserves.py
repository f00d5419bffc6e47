"""A payee's rolling reserve: kept back of payouts, released after its days, drawn on by payees who owe."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Sum
from django.test import Client
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from billing.credit.proving import prove_credit
from billing.invoices.posting import post
from billing.models import Payout, PayoutLine, ReserveRelease, ReserveTerms, Withholding
from billing.queries import is_balanced, trial_balance
from billing.settlement.payouts import approve, cancel, gather
from billing.settlement.reserves import Terms, agree_terms, balances_of, reserves_of
from billing.settlement.sending import send_payouts
from core.errors import Conflict, Invalid
from marketplace.models import CreditAlarm, Organization, User
from tests import builders as build
from tests.billing.test_dispute_races import together
from tests.builders_billing import Market, make_market
from tests.builders_invoices import APRIL, MARCH, balance, make_entry
from tests.builders_settlement import DAY, LATER, UNIT, a_share

pytestmark = pytest.mark.django_db
TENTH = Terms(1000, 30)
OVER = LATER + 30 * DAY


@pytest.fixture
def market(db: None) -> Market:
    market = make_market()
    agree_terms(market.bob, TENTH, now=MARCH)
    return market


@pytest.fixture
def olga(db: None) -> User:
    return build.olga().user


def pay_out(now: datetime = LATER) -> list[Payout]:
    """A run, approved and sent; its payouts."""
    run = gather(now)
    if run is None:
        return []
    for payout in run.payouts.all():
        approve(payout, build.olga().user, now)
    send_payouts(now)
    return list(run.payouts.order_by("pk"))


def due(market: Market, micros: int, **how: Any) -> None:
    """A share that is due with every run of these tests."""
    a_share(market, micros, payer="platform", **how)


def back(market: Market, micros: int, at: datetime = MARCH + DAY) -> None:
    """A correction that takes something back."""
    a_share(market, -micros, kind="delta", at=at)


def proved(payee: Organization) -> int:
    """What is held of a payee's reserve, by the ledger and by the rows."""
    rows = sum(one.left for one in reserves_of(payee).filter(state="held"))  # type: ignore[attr-defined]
    assert -balance("provider_reserve", payee) == rows
    assert is_balanced(trial_balance())
    assert prove_credit() == 0
    return rows


def test_a_part_is_kept_back_and_goes_out_when_its_days_are_over(market: Market) -> None:
    due(market, 100 * UNIT + 55_555)
    (payout,) = pay_out()
    held = Withholding.objects.get()
    assert (held.payout, held.base_micros, held.amount_micros) == (payout, 100 * UNIT + 55_555, 10 * UNIT)
    assert (held.withheld_at, held.release_at) == (LATER, OVER)
    assert (payout.exact_micros, payout.amount_micros, payout.lines_count) == (90 * UNIT + 55_555, 90 * UNIT + 50_000, 2)
    assert (proved(market.bob), -balance("provider_payable", market.bob)) == (10 * UNIT, 5_555)
    assert balances_of(market.bob) == [{"currency": "CNY", "held": 10 * UNIT, "pending": 0, "next_release_at": OVER}]
    assert pay_out(OVER - DAY) == []
    (later,) = pay_out(OVER)
    assert (later.amount_micros, Withholding.objects.count()) == (10 * UNIT, 1)  # nothing is kept back of it again
    assert (proved(market.bob), balances_of(market.bob), -balance("provider_payable", market.bob)) == (0, [], 5_555)
    assert ReserveRelease.objects.get().kind == "released"
    assert pay_out(OVER + DAY) == []


def test_what_is_released_waits_for_the_minimum_like_any_share_and_is_released_once(market: Market) -> None:
    due(market, 50 * UNIT)
    pay_out()
    for _ in range(2):
        assert gather(OVER) is None
    assert ReserveRelease.objects.get().amount_micros == 5 * UNIT
    due(market, 20 * UNIT)
    (payout,) = pay_out(OVER)
    assert payout.amount_micros == (5 + 20 - 2) * UNIT
    assert proved(market.bob) == 2 * UNIT


def test_a_cancelled_payout_keeps_nothing_back_and_its_shares_are_gathered_whole(market: Market) -> None:
    due(market, 100 * UNIT)
    run = gather(LATER)
    assert run is not None
    assert balances_of(market.bob)[0]["pending"] == 10 * UNIT
    cancel(run.payouts.get(), "wrong account", LATER)
    assert gather(OVER) is not None
    again = Payout.objects.get(state="draft")
    assert (again.amount_micros, again.lines_count) == (90 * UNIT, 2)
    states = list(reserves_of(market.bob).order_by("pk").values_list("state", flat=True))
    assert states == ["cancelled", "pending"]
    assert not ReserveRelease.objects.exists()
    assert proved(market.bob) == 0


def test_a_release_in_a_cancelled_payout_goes_into_the_next(market: Market) -> None:
    due(market, 100 * UNIT)
    pay_out()
    run = gather(OVER)
    assert run is not None
    cancel(run.payouts.get(), "wrong account", OVER)
    (payout,) = pay_out(OVER)
    assert (payout.amount_micros, ReserveRelease.objects.count(), proved(market.bob)) == (10 * UNIT, 1, 0)


def test_who_owes_draws_on_the_reserve_first_and_the_rest_is_carried(market: Market) -> None:
    due(market, 100 * UNIT)
    pay_out()
    due(market, 50 * UNIT)
    pay_out(LATER + DAY)
    back(market, 12 * UNIT)
    for _ in range(2):
        assert gather(LATER + 2 * DAY) is None
    first, second = Withholding.objects.order_by("pk")
    drawn = ReserveRelease.objects.order_by("pk").values_list("withholding", "kind", "amount_micros")
    assert list(drawn) == [(first.pk, "drawn", 10 * UNIT), (second.pk, "drawn", 2 * UNIT)]
    assert (proved(market.bob), balance("provider_payable", market.bob)) == (3 * UNIT, 0)
    back(market, 8 * UNIT)
    assert gather(LATER + 2 * DAY) is None
    assert (proved(market.bob), balance("provider_payable", market.bob)) == (0, 5 * UNIT)
    due(market, 30 * UNIT)
    (payout,) = pay_out(LATER + 3 * DAY)
    assert (payout.amount_micros, proved(market.bob)) == ((25 - 2) * UNIT - 500_000, 2 * UNIT + 500_000)


def test_terms_hold_from_their_moment_on_and_the_settings_without_any(market: Market, settings: Any) -> None:
    agree_terms(market.bob, Terms(0, 0, LATER), now=MARCH)
    due(market, 100 * UNIT)
    run = gather(LATER - timedelta(seconds=1))
    assert run is not None
    assert Withholding.objects.get().basis_points == 1000
    cancel(run.payouts.get(), "again")
    assert gather(LATER) is not None
    assert Withholding.objects.count() == 1
    settings.PAYOUT_RESERVE_BPS, settings.PAYOUT_RESERVE_DAYS = 500, 10
    other = make_market()
    due(other, 100 * UNIT)
    gather(LATER)
    held = Withholding.objects.get(organization=other.bob)
    assert (held.amount_micros, held.release_at) == (5 * UNIT, LATER + 10 * DAY)


def test_terms_are_agreed_once_for_what_comes_and_leave_something(market: Market, olga: User) -> None:
    made = agree_terms(market.bob, Terms(500, 10, LATER, "new"), olga, MARCH)
    assert agree_terms(market.bob, Terms(500, 10, LATER), None, APRIL + 90 * DAY) == made
    with pytest.raises(Conflict, match="other terms"):
        agree_terms(market.bob, Terms(501, 10, LATER), olga, MARCH)
    for wrong in (Terms(9001, 1), Terms(-1, 1), Terms(2**40, 1), Terms(1, -1), Terms(1, 3651), Terms(1, 1, MARCH - DAY)):
        with pytest.raises(Invalid):
            agree_terms(market.carol, wrong, olga, MARCH)


def test_the_nightly_proof_finds_a_reserve_that_the_ledger_does_not_hold(market: Market) -> None:
    due(market, 100 * UNIT)
    pay_out()
    post("a lie", "reserve", LATER, "CNY", [("provider_reserve", market.bob.pk, UNIT), ("platform_cash", None, -UNIT)])
    assert prove_credit() == 1
    alarm = CreditAlarm.objects.get()
    assert alarm.organization == market.bob
    assert (int(alarm.stands), int(alarm.counted)) == (10 * UNIT, 9 * UNIT)


def test_one_who_only_publishes_has_a_reserve_too(market: Market) -> None:
    agree_terms(market.carol, TENTH, now=MARCH)
    a_share(market, 0, 100 * UNIT, payer="platform")
    pay_out()
    assert (proved(market.carol), balance("publisher_payable", market.carol)) == (10 * UNIT, 0)
    (payout,) = pay_out(OVER)
    assert (payout.amount_micros, balance("provider_payable", market.carol), proved(market.carol)) == (10 * UNIT, 0, 0)


def test_postgresql_refuses_what_no_reserve_is(market: Market) -> None:
    due(market, 100 * UNIT)
    run = gather(LATER)
    assert run is not None
    held = Withholding.objects.get()
    fields: dict[str, Any] = {"kind": "drawn", "amount_micros": 1, "released_at": LATER}
    with pytest.raises(IntegrityError, match="to be released"), transaction.atomic():  # not paid
        ReserveRelease.objects.create(withholding=held, entry=make_entry(), **fields)
    approve(run.payouts.get(), build.olga().user)
    send_payouts(LATER)
    for wrong in ({"amount_micros": 10 * UNIT + 1}, {"kind": "released"}):
        with pytest.raises(IntegrityError, match="to be released"), transaction.atomic():
            ReserveRelease.objects.create(withholding=held, entry=make_entry(), **(fields | wrong))
    other = run.payouts.get()
    line = PayoutLine.objects.get(role="reserve")
    for change in ({"share": line.share - 2}, {"release": 1}, {"role": "provider"}, {"withholding": None}):
        with pytest.raises(DatabaseError), transaction.atomic():
            PayoutLine.objects.filter(pk=line.pk).update(**change)
    ReserveRelease.objects.create(withholding=held, entry=make_entry(), **fields)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # or TRUNCATE fails for its pending checks
    for model in (ReserveTerms, Withholding, ReserveRelease):
        for statement in ("UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(statement.format(model._meta.db_table))
    fresh = {"organization": market.bob, "currency": "CNY", "base_micros": 2, "basis_points": 1, "amount_micros": 1}
    with pytest.raises(IntegrityError), transaction.atomic():  # one per payout
        Withholding.objects.create(payout=other, withheld_at=LATER, release_at=LATER, **fresh)


def test_a_withholding_that_is_no_line_of_its_payout_does_not_commit(market: Market) -> None:
    agree_terms(market.bob, Terms(0, 0, LATER), now=MARCH)
    due(market, 100 * UNIT)
    run = gather(LATER)
    assert run is not None
    fresh = {"organization": market.bob, "currency": "CNY", "base_micros": 2, "basis_points": 1, "amount_micros": 1}
    with pytest.raises(IntegrityError, match="no line"), transaction.atomic(), connection.cursor() as cursor:
        Withholding.objects.create(payout=run.payouts.get(), withheld_at=LATER, release_at=LATER, **fresh)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_reserves_cost_a_run_no_more_statements_the_more_there_are(django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        other = make_market()
        agree_terms(other.bob, TENTH, now=MARCH)
        due(other, 100 * UNIT)
        due(other, 20 * UNIT)
    pay_out()
    with django_assert_max_num_queries(22):
        run = gather(OVER)
    assert run is not None
    assert run.payouts.count() == 3


@pytest.mark.django_db(transaction=True)
def test_of_two_runs_at_once_one_releases_and_keeps_back() -> None:
    market = make_market()
    agree_terms(market.bob, TENTH, now=MARCH)
    due(market, 200 * UNIT)
    pay_out()
    due(market, 100 * UNIT)
    assert together(lambda: gather(OVER), lambda: gather(OVER)) == ["done", "done"]
    assert (ReserveRelease.objects.count(), Withholding.objects.count()) == (1, 2)
    assert Payout.objects.get(state="draft").amount_micros == (100 - 10 + 20) * UNIT
    proved(market.bob)


steps = st.lists(
    st.tuples(st.sampled_from(["earn", "owe", "out", "cancel", "wait"]), st.integers(1, 60), st.integers(0, 9_999)), max_size=12
)


@given(steps, st.sampled_from([0, 333, 1000, 9000]), st.integers(0, 20))
@hypothesis_settings(max_examples=12, deadline=None)
def test_whatever_happens_nothing_is_lost_and_the_ledger_holds_what_the_rows_say(
    moves: list[tuple[str, int, int]], points: int, days: int
) -> None:
    with transaction.atomic():
        market, now, earned = make_market(), LATER, 0
        agree_terms(market.bob, Terms(points, days), now=MARCH)
        for kind, units, odd in moves:
            micros = units * UNIT + odd
            if kind == "earn":
                due(market, micros)
                earned += micros
            elif kind == "owe":
                back(market, micros)
                earned -= micros
            elif kind == "out":
                pay_out(now)
            elif kind == "cancel" and (run := gather(now)):
                cancel(run.payouts.get(), "again", now)
            now += DAY * (units if kind == "wait" else 1)
            held = proved(market.bob)
            paid = Payout.objects.filter(state="paid").aggregate(sum=Sum("amount_micros"))["sum"] or 0
            assert -balance("provider_payable", market.bob) + held + paid == earned
        transaction.set_rollback(True)


def test_payees_see_their_reserve_and_operators_agree_on_terms(market: Market) -> None:
    agree_terms(build.bob().organization, TENTH, now=MARCH)
    market.bob = build.bob().organization
    due(market, 100 * UNIT)
    (payout,) = pay_out()
    bob, olga = build.client_of(build.bob()), build.client_of(build.olga())
    (one,) = bob.get("/api/v1/reserves").json()["results"]
    assert (one["payout"], one["amount"], one["left"], one["state"]) == (payout.pk, "10.000000", "10.000000", "held")
    (row,) = bob.get("/api/v1/reserves/balances").json()
    assert (row["held"], row["pending"]) == ("10.000000", "0.000000")
    assert bob.get(f"/api/v1/payouts/{payout.pk}").json()["withheld"] == "10.000000"
    lines = bob.get(f"/api/v1/payouts/{payout.pk}/lines").json()["results"]
    assert [(line["role"], line["amount"], line["withheld"]) for line in lines] == [
        ("reserve", "-10.000000", one["number"]), ("provider", "100.000000", None)
    ]  # fmt: skip
    assert build.client_of(build.mallory()).get("/api/v1/reserves").json()["results"] == []
    told = {"organization": market.bob.slug, "basis_points": 500, "days": 60, "note": "两次争议"}
    assert bob.post("/api/v1/reserve-terms", told, format="json").status_code == 403
    assert olga.post("/api/v1/reserve-terms", told, format="json").status_code == 201
    assert olga.post("/api/v1/reserve-terms", told | {"days": 4000}, format="json").json()["code"] == "reserve_invalid"
    assert olga.post("/api/v1/reserve-terms", told | {"days": 2**70}, format="json").status_code == 422
    assert [(t["basis_points"], t["days"]) for t in bob.get("/api/v1/reserve-terms").json()["results"]] == [(500, 60), (1000, 30)]
    assert olga.get("/api/v1/reserves").json()["results"][0]["organization"] == market.bob.slug
    pay_out(OVER)
    assert bob.get("/api/v1/reserves").json()["results"][0]["state"] == "released"


def test_the_pages_of_payouts_show_what_is_kept_back(market: Market) -> None:
    bob = build.bob()
    market.bob = bob.organization
    agree_terms(market.bob, TENTH, now=MARCH)
    due(market, 100 * UNIT)
    (payout,) = pay_out()
    session = build.session_of(bob)
    for page in ("/payouts/", f"/payouts/{payout.pk}/"):
        assert "Kept back" in session.get(page).content.decode()
    assert "reserve no." in session.get(f"/payouts/{payout.pk}/").content.decode()
    (later,) = pay_out(OVER)
    assert "released" in session.get(f"/payouts/{later.pk}/").content.decode()
    assert session.get("/payouts/").status_code == build.session_of(build.olga()).get("/payouts/").status_code == 200


def test_operators_agree_on_terms_in_the_admin(market: Market) -> None:
    client = Client()
    client.force_login(build.olga().user)
    url = "/admin/billing/reserveterms/add/"
    assert client.get(url).status_code == 200
    told = {"organization": market.carol.pk, "basis_points": 700, "days": 45, "starts_at_0": "", "starts_at_1": "", "note": ""}
    assert client.post(url, told).status_code == 302
    made = ReserveTerms.objects.get(organization=market.carol)
    assert (made.basis_points, made.days, made.agreed_by) == (700, 45, build.olga().user)
