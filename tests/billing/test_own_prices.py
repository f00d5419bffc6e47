"""Own prices: a customer's agreement with a provider stands in the place of the list, for that customer and from its start on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import Charge, PeriodCharge
from billing.services import charge_tasks
from marketplace.models import Offer
from scheduler.scene import read_scene
from tests import builders as build
from tests.builders_billing import START, Market, make_attempt, make_market, make_need, make_organization, make_task, make_usage
from tests.builders_periods import amount, close, period_offer

pytestmark = pytest.mark.django_db


def a_delivered_task(market: Market, **fields: Any) -> Charge:
    """A task of 1.5 core-seconds, charged; the publisher asks nothing."""
    task = make_task(market, terms={"fee_per_unit": "0"}, **fields)
    usage = make_usage(market, task, make_attempt(market, task, make_need()))
    charge_tasks([task.pk])
    return Charge.objects.get(usage=usage)


def own_price(market: Market, price: str = "2") -> Offer:
    begin = START - timedelta(minutes=1)
    return period_offer(market.pool, "consumption", {"core_second": price}, start=begin, customer=market.alice)


def test_a_customers_own_price_is_charged_by_month_in_the_lists_place() -> None:
    market = make_market(rates={"core_second": "1"})
    own = own_price(market)
    assert a_delivered_task(market).reason == "by_period"
    close(market)
    charge = PeriodCharge.objects.get()
    assert (charge.offer_id, charge.amount_micros) == (own.pk, amount("3"))


def test_others_pay_the_list_price() -> None:
    market = make_market(rates={"core_second": "1"})
    own_price(market)
    market.alice = make_organization("mallory")
    assert a_delivered_task(market).amount_micros == amount("1.5")


def test_a_task_that_was_priced_before_keeps_the_list_price() -> None:
    market = make_market(rates={"core_second": "1"})
    later = START + timedelta(minutes=1)
    period_offer(market.pool, "consumption", {"core_second": "2"}, start=later, customer=market.alice)
    assert a_delivered_task(market).amount_micros == amount("1.5")


def test_an_own_price_is_never_changed_and_never_offered_to_others() -> None:
    market = make_market()
    own = own_price(market)
    with pytest.raises(DatabaseError), transaction.atomic():
        Offer.objects.filter(pk=own.pk).update(customer=market.bob)
    scene = read_scene()
    assert own.pk not in {listed.id for offers in scene.offers.values() for listed in offers}


def test_providers_agree_on_it_at_the_pools_door_beside_the_list() -> None:
    pool, acme = build.a_pool(), build.alice().organization
    client, path = build.client_of(build.bob()), f"/api/v1/pools/{pool.identifier}/offers"
    body = {"basis": "consumption", "rates": {"core_second": "0.00005"}, "customer": acme.slug}
    answer = client.post(path, body)
    found = answer.json()
    assert (answer.status_code, found["customer"], found["per_period"], found["used"]) == (201, "acme", True, True)
    assert client.post(path, body | {"customer": "nobody"}).json()["code"] == "organization_unknown"
    lists = Offer.objects.filter(pool=pool, valid__contains=timezone.now())
    assert lists.count() == 2
    market = build.client_of(build.alice()).get("/api/v1/market/pools").json()["results"]
    assert market[0]["offer"]["rates"] == {"core_second": "0.0001"}
    own = market[0]["own_offer"]
    assert (own["customer"], own["rates"]) == ("acme", {"core_second": "0.00005"})
    for other in (build.mallory(), build.olga()):
        assert build.client_of(other).get("/api/v1/market/pools").json()["results"][0]["own_offer"] is None


def test_more_own_prices_make_no_more_statements() -> None:
    counts, alice = [], build.alice().organization
    for _ in range(2):
        for _ in range(3):
            period_offer(build.a_pool(), "consumption", {"core_second": "5"}, start=timezone.now(), customer=alice)
        with CaptureQueriesContext(connection) as told:
            rows = build.client_of(build.alice()).get("/api/v1/market/pools").json()["results"]
        counts.append(len(told))
        assert all(row["own_offer"] for row in rows)
    assert counts[0] == counts[1]
