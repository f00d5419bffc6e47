"""What providers read of their pools' standing, and everybody of the market's trust and scarcity."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from marketplace.models import Agent, Pool
from marketplace.services.availability import keep_status, reclaim_pool
from scheduler.models import MarketPrice, Trust
from tests import builders as build
from tests.builders_tasks import a_version
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db


def own_pools() -> str:
    return text_of(browser_of(build.bob()).get("/pools/"))


def the_market() -> str:
    return text_of(browser_of(build.alice()).get("/market/"))


def test_a_provider_reads_a_pools_level_and_whether_its_word_is_believed() -> None:
    build.a_pool(kind="community")
    assert "L0, its word alone is not believed yet" in own_pools()
    Pool.objects.update(level=3)
    assert "L3 " in own_pools()
    assert "not believed" not in own_pools()


def test_a_provider_reads_of_quarantine_maintenance_and_what_was_wanted_back() -> None:
    pool = build.a_pool()
    build.a_window(pool, in_s=7300)
    build.a_window(pool, in_s=-9000)
    Pool.objects.update(quarantined_until=timezone.now() + timedelta(hours=1))
    reclaim_pool(pool, in_s=601)
    page = own_pools()
    assert "active quarantine" in page
    assert "yours in 10" in page
    assert page.count(" in 2 hours") == 1


def test_a_provider_reads_what_a_machine_feels() -> None:
    pool = build.a_pool()
    keep_status(Agent.objects.get(pool=pool), {"load1": 0.5, "temperature_c": 61}, [])
    assert "load 0.5, 61 °C" in own_pools()


def test_the_market_says_how_far_a_pool_is_believed() -> None:
    pool = build.a_pool()
    assert "L0 new" in the_market()
    Trust.objects.create(pool=pool, capability_version=a_version(), valid=97, samples=97, updated_at=timezone.now())
    assert "L0 99% of 97" in the_market()


def test_the_market_says_which_pools_are_full_and_what_of_the_dearest_first() -> None:
    pool, other = build.a_pool(), build.a_pool()
    now = timezone.now()
    for minutes, one, price in ((1, pool, 0.02), (2, pool, 0.9), (3, other, 0.5), (90, other, 7.0)):
        MarketPrice.objects.create(at=now - timedelta(minutes=minutes), pool=one, resource="memory_mib", price=price)
    page = the_market()
    full = page[page.index("Full within the last hour") :]
    assert f"{other.identifier} ningxia memory MiB 0.5 3" in full
    assert f"{pool.identifier} ningxia memory MiB 0.02 1" in full
    assert full.index(other.identifier) < full.index(pool.identifier)
    assert "0.9" not in full


def test_a_market_with_room_names_nobody() -> None:
    build.a_pool()
    assert "Full within" not in the_market()
