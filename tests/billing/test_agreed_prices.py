"""Who has own prices is quoted, matched, held and capped by them; everybody else by the list."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing.models import PeriodCharge
from billing.periods import rate_periods, safe_cutoff
from billing.services import charge_task
from marketplace.models import Hold, Offer, Organization, Pool, Task
from metering.services import measure
from scheduler.matching import ClassState
from scheduler.models import Attempt, Round
from scheduler.scene import read_scene
from scheduler.services.expanding import expand_task
from scheduler.services.placing import replay_round, run_round
from scheduler.snapshots import market_in
from tests import builders as build
from tests.builders_periods import period_offer
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end

pytestmark = pytest.mark.django_db
MANY = {"capability": "", "inputs": {"count": 4}}


def agreed(pool: Pool, price: str, customer: Organization | None = None) -> Offer:
    start = timezone.now() - timedelta(minutes=30)
    return period_offer(pool, "result", {"result": price}, start=start, customer=customer or build.alice().organization)


def two_pools() -> tuple[Pool, Pool]:
    """By the list the first is cheaper."""
    near = build.a_pool(basis="result", rates={"result": "0.25"})
    return near, build.a_pool(basis="result", rates={"result": "0.75"}, region="beijing")


def asked(**more: Any) -> dict[str, Any]:
    return MANY | {"capability": str(a_version(fee={"per_unit": "0", "per_task": "0"}))} | more


def test_a_quote_counts_with_ones_own_price_and_names_the_pool_that_is_cheaper_by_it() -> None:
    _, far = two_pools()
    agreed(far, "0.10")
    body = asked()
    mine = build.client_of(build.alice()).post("/api/v1/quotes", body).json()["cheapest"]
    others = build.client_of(build.mallory()).post("/api/v1/quotes", body).json()["cheapest"]
    assert (Decimal(mine["price"]), mine["pools"][0]["pool"]) == (Decimal("0.4"), far.identifier)
    assert Decimal(others["price"]) == 1


def test_a_submit_holds_what_ones_own_price_comes_to_and_caps_are_compared_with_it() -> None:
    build.a_pool(basis="result", rates={"result": "0.25"})
    agreed(Pool.objects.get(), "2")
    client, body = build.client_of(build.alice()), asked()
    for person in (build.alice(), build.mallory()):
        assert build.client_of(person).post("/api/v1/tasks", body).status_code == 201
    mine, others = Hold.objects.order_by("pk").values_list("amount_micros", flat=True)
    assert mine == 8 * others
    refused = client.post("/api/v1/tasks", body | {"constraints": {"max_price": "1"}}).json()
    assert refused["code"] == "price_cap_below_offers"
    agreed(build.a_pool(basis="result", rates={"result": "9"}, region="beijing"), "0.1")
    assert client.post("/api/v1/tasks", body | {"constraints": {"max_price": "1"}}).status_code == 201


def test_the_planner_places_by_it_the_attempt_names_it_and_the_month_charges_it() -> None:
    _, far = two_pools()
    own = agreed(far, "0.10")
    task = a_task(version=a_version(fee={"per_unit": "0", "per_task": "0"}), inputs={"count": 4}, objective="cheapest")
    Task.objects.filter(pk=task.pk).update(priced_at=timezone.now())
    expand_task(task.pk)
    run_round()
    this = Round.objects.latest("pk")
    assert [one.placements for one in replay_round(this)]
    run_to_end(task, FakeAgent.of(far))
    assert set(Attempt.objects.values_list("offer_id", flat=True)) == {own.pk}
    measure()
    charge_task(task.pk)
    rate_periods([task.organization_id], timezone.now().date(), safe_cutoff(), final=True)
    assert PeriodCharge.objects.get().amount_micros == 400_000


def test_what_was_agreed_counts_from_its_start_to_its_end() -> None:
    pool, customer = build.a_pool(), build.alice().organization
    start, end = timezone.now(), timezone.now() + timedelta(days=1)
    own = period_offer(pool, "consumption", {"core_second": "5"}, start=start, end=end, customer=customer)
    scene = read_scene()
    moments = [start - timedelta(seconds=1), start, end - timedelta(seconds=1), end]
    found = [scene.agreed(customer.slug, one.isoformat()).get(pool.pk) for one in moments]
    assert [one and one.offer_id for one in found] == [None, own.pk, own.pk, None]


def test_own_prices_add_no_statement_to_a_snapshot() -> None:
    pool = build.a_pool()
    need = {"version": 1, "organization": "acme", "offers_at": timezone.now().isoformat()}
    counts = []
    for customer in (None, "acme", "other"):
        if customer:
            agreed(pool, "1", build.an_organization(customer))
        with CaptureQueriesContext(connection) as told:
            market_in(read_scene(), [ClassState(1, need, 1)])
        counts.append(len(told))
    assert counts == [counts[0]] * 3


def test_what_if_a_pools_present_price_is_ones_own() -> None:
    pool = build.a_pool(rates={"core_second": "1"})
    period_offer(pool, "consumption", {"core_second": "5"}, start=timezone.now(), customer=build.alice().organization)
    body = {"month": "2026-03", "prices": [{"pool": pool.identifier}]}
    for person, price in ((build.alice(), "5"), (build.mallory(), "1")):
        found = build.client_of(person).post("/api/v1/what-if", body).json()
        assert found["candidates"][0]["price"]["rates"]["core_second"]["price"].startswith(price)
