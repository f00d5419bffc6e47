"""Months that were parked go on once somebody has mended them and said why."""

from __future__ import annotations

import itertools
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.invoices.closing import close_all
from billing.invoices.freeing import MOVES, free_months
from billing.models import BillingPeriod, Charge, FreedPeriod, Invoice
from core.errors import Conflict, DomainError, NotFound
from tests import builders as build
from tests.billing.test_closing import CENT, DAY, LATER, SOON
from tests.builders_billing import make_market
from tests.builders_invoices import APRIL, MARCH, a_parked_month, make_charge, make_period
from tests.builders_settlement import a_share

pytestmark = pytest.mark.django_db


def test_a_mended_month_is_freed_closed_and_invoiced() -> None:
    market = make_market()
    charge = a_share(market, -5 * CENT, kind="delta", at=MARCH + DAY)
    assert close_all(SOON).parked == 1
    month = BillingPeriod.objects.get()
    assert month.parked_code == "total_negative"
    make_charge(market, 100 * CENT, MARCH + 2 * DAY)  # what was missing has come
    assert close_all(SOON).closed == 0
    (freed,) = free_months([month.pk], "the missing charge was posted", build.olga().user)
    assert (freed.number, freed.parked_code, freed.reason) == (1, "total_negative", "the missing charge was posted")
    assert (close_all(SOON).closed, close_all(LATER).finalised) == (1, 1)
    month.refresh_from_db()
    assert (month.state, month.parked_code, Invoice.objects.get().net_micros) == ("closed", "", 95 * CENT)
    assert Charge.objects.get(pk=charge.pk).invoiced is not None


def test_a_month_that_is_still_impossible_is_parked_anew_and_both_are_kept() -> None:
    market = make_market()
    a_share(market, -5 * CENT, kind="delta", at=MARCH + DAY)
    close_all(SOON)
    month = BillingPeriod.objects.get()
    for number in (1, 2):
        free_months([month.pk], f"try {number}", None)
        assert close_all(SOON).parked == 1
    assert list(FreedPeriod.objects.order_by("number").values_list("number", "reason")) == [(1, "try 1"), (2, "try 2")]


def test_a_month_that_is_not_parked_cannot_be_freed_nor_any_beside_it() -> None:
    alice = build.alice().organization
    parked, running = a_parked_month(alice), make_period(alice)
    with pytest.raises(Conflict, match="not parked"):
        free_months([parked.pk, running.pk], "all", None)
    with pytest.raises(NotFound):
        free_months([parked.pk, 0], "all", None)
    assert (BillingPeriod.objects.get(pk=parked.pk).state, FreedPeriod.objects.count()) == ("parked", 0)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(MOVES, MOVES)))
def test_postgresql_knows_the_same_arrows(before: str, after: str) -> None:
    told: dict[str, dict[str, Any]] = {"parked": {"parked_code": "x"}, "closed": {"cutoff": APRIL}, "open": {}}
    month = make_period(build.alice().organization, state=before, **told[before])
    if (before, after) == ("parked", "open"):
        said = {"number": 1, "parked_code": "x", "parked_detail": "", "reason": "mended", "freed_at": APRIL}
        FreedPeriod.objects.create(period=month, **said)
    changes: dict[str, Any] = {"state": after, "parked_code": "x" if after == "parked" else ""}
    changes |= {"cutoff": APRIL if after == "closed" else None}
    changes |= {"freed_count": int((before, after) == ("parked", "open"))}
    rows = BillingPeriod.objects.filter(pk=month.pk)
    if before == after or after in MOVES[before]:
        assert rows.update(**changes) == 1
    else:
        with pytest.raises(IntegrityError, match="refused"), transaction.atomic():
            rows.update(**changes)


def test_nobody_frees_a_month_without_saying_why() -> None:
    month = a_parked_month(build.alice().organization)
    rows = BillingPeriod.objects.filter(pk=month.pk)
    with pytest.raises(IntegrityError, match="nobody says why"), transaction.atomic():
        rows.update(state="open", parked_code="", freed_count=1)
    with pytest.raises(IntegrityError, match="refused"), transaction.atomic():
        rows.update(state="open", parked_code="")
    free_months([month.pk], "mended", None)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        FreedPeriod.objects.update(reason="something else")


def test_more_months_cost_no_more_statements() -> None:
    counts = []
    for many in (1, 5):
        months = [a_parked_month(build.an_organization(f"o-{many}-{one}")).pk for one in range(many)]
        with CaptureQueriesContext(connection) as asked:
            assert len(free_months(months, "mended", None)) == many
        counts.append(len(asked))
    assert counts[0] == counts[1]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_free_a_month_at_once_one_does() -> None:
    month, barrier = a_parked_month(build.alice().organization), Barrier(2)
    told: list[str] = []

    def one() -> None:
        barrier.wait()
        try:
            free_months([month.pk], "mended", None)
            told.append("freed")
        except DomainError as refusal:
            told.append(refusal.code)
        finally:
            connections.close_all()

    threads = [Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sorted(told), FreedPeriod.objects.count()) == (["freed", "period_not_parked"], 1)


def test_operators_find_and_free_parked_months_through_the_door() -> None:
    olga, month = build.client_of(build.olga()), a_parked_month(build.alice().organization)
    make_period(build.bob().organization)
    url = f"/api/v1/billing-periods/{month.pk}/free"
    found = olga.get("/api/v1/billing-periods?state=parked").json()["results"]
    assert [(one["number"], one["organization"], one["parked_code"]) for one in found] == [(month.pk, "acme", "total_negative")]
    assert olga.get("/api/v1/billing-periods?state=lost").json()["code"] == "invalid_parameter"
    assert olga.post(url, {}, format="json").status_code == 422
    freed = olga.post(url, {"reason": "价格已更正"}, format="json").json()
    assert (freed["state"], freed["freed"][0]["reason"], freed["freed"][0]["freed_by"]) == ("open", "价格已更正", "olga")
    assert olga.post(url, {"reason": "again"}, format="json").json()["code"] == "period_not_parked"
    assert olga.post("/api/v1/billing-periods/0/free", {"reason": "x"}, format="json").status_code == 404


def test_an_operator_frees_a_month_in_the_admin() -> None:
    month, client = a_parked_month(build.alice().organization), Client()
    running = make_period(build.bob().organization)
    client.force_login(build.olga().user)
    form = client.get("/admin/billing/freedperiod/add/").content.decode()
    assert (f'value="{month.pk}"' in form, f'value="{running.pk}"' in form) == (True, False)
    assert client.post("/admin/billing/freedperiod/add/", {"period": month.pk, "reason": "mended"}).status_code == 302
    assert BillingPeriod.objects.get(pk=month.pk).state == "open"
    assert FreedPeriod.objects.get().freed_by == build.olga().user
