"""What the market's last rounds say is scarce: a public series, of pools that are full."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from scheduler.models import MarketPrice
from scheduler.services.placing import run_round
from tests.builders import a_pool, alice, client_of, mallory
from tests.builders_http import problem_of
from tests.builders_tasks import a_task

pytestmark = pytest.mark.django_db


def prices(query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client_of(mallory()).get(f"/api/v1/market/prices{query}").json()["results"]
    return found


def test_a_full_pool_has_a_price_in_the_public_series_and_one_with_room_has_none() -> None:
    full = a_pool(cores=2, rates={"core_second": "0.001"})
    roomy = a_pool(cores=64, rates={"core_second": "1"})
    a_task(alice(), inputs={"count": 10})
    run_round()
    told = prices()
    assert {row["pool"] for row in told} == {full.identifier}
    assert {row["resource"] for row in told} == {"cores"}
    assert all(row["price"] > 0 for row in told)
    assert prices(f"?pool={roomy.identifier}") == []
    assert prices("?resource=disk_mib") == []
    assert prices(f"?pool={full.identifier}&resource=cores&limit=1") == told[:1]


def test_the_series_goes_as_far_back_as_is_asked_for() -> None:
    pool, now = a_pool(), timezone.now()
    for hours in (1, 30):
        MarketPrice.objects.create(at=now - timedelta(hours=hours), pool=pool, resource="cores", price=hours)
    assert [row["price"] for row in prices()] == [1.0]
    assert [row["price"] for row in prices("?hours=48")] == [1.0, 30.0]
    assert problem_of(client_of(mallory()).get("/api/v1/market/prices?hours=x"))[0] == 422
