"""The preview on pages and by doors: what moved is told to all, whose it was only to who may see it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Charge
from billing.services import charge_tasks
from index.live.services import count_months
from index.models import Observation, PreviewChange
from index.preview.counting import recount
from marketplace.models import Organization, Pool
from tests import builders as build
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_pool, make_task, make_usage
from tests.index.test_live import province
from tests.index.test_preview import LATER, NOW, just_now

__all__ = ["just_now"]  # of every test here, too

pytestmark = pytest.mark.django_db


@pytest.fixture
def charge() -> Charge:
    """alice's task ran on bob's pool in Ningxia and was charged; a pool of bob's came. Two previews are made."""
    market = make_market(rates={"core_second": "1"})
    alice, bob = build.alice().organization, build.bob().organization
    Organization.objects.filter(pk=alice.pk).update(region=province("shanghai", "310000"))
    Pool.objects.filter(pk=market.pool.pk).update(region=province("ningxia", "640000"), fp32_mflops=10**9, organization=bob)
    guizhou = make_pool(bob, fp32_mflops=3 * 10**9)
    Pool.objects.filter(pk=guizhou.pk).update(region=province("guizhou", "520000"))
    assert recount(NOW)
    make_pool(bob, fp32_mflops=10**9)
    found = charged(replace(market, alice=alice, bob=bob))
    assert recount(LATER)
    return found


def charged(market: Market) -> Charge:
    task = make_task(market, ended_at=NOW)
    attempt = make_attempt(market, task, make_need(), leased_at=NOW - timedelta(minutes=5), ended_at=NOW)
    make_usage(market, task, attempt, core_ms=3_000, fp32_gflop=Decimal("7.5"), measured_at=NOW)
    charge_tasks([task.pk])
    return Charge.objects.get(usage__isnull=False)


def page(path: str, who: Any) -> str:
    client = Client()
    client.force_login(who.user)
    answer = client.get(path)
    assert answer.status_code == 200, answer.content.decode()[:500]
    return answer.content.decode()


def change(leaf: str) -> PreviewChange:
    return PreviewChange.objects.get(leaf=leaf, region="640000")


def test_one_goes_from_the_preview_to_a_change_to_the_task_that_was_settled(charge: Charge) -> None:
    home = page("/index/preview/", build.alice())
    assert "unofficial preview" in home
    assert "Ningxia General service scale +1 PFLOPS" in home
    revenue = change("C12")
    assert f'href="/index/preview/changes/{revenue.pk}/"' in home
    told = page(f"/index/preview/changes/{revenue.pk}/", build.alice())
    assert f'href="/tasks/{charge.task_id}/"' in told
    assert f'href="/charges/{charge.pk}/"' in told
    assert "Settled revenue" in told


def test_strangers_learn_that_it_moved_and_not_whose_it_was(charge: Charge) -> None:
    for leaf in ("A11", "C12"):
        told = page(f"/index/preview/changes/{change(leaf).pk}/", build.mallory())
        assert str(charge.task_id) not in told
        assert "TEST-" not in told
    assert "TEST-" in page(f"/index/preview/changes/{change('A11').pk}/", build.bob())
    assert str(charge.task_id) in page(f"/index/preview/changes/{change('C12').pk}/", build.olga())
    for who, n in ((build.mallory(), 0), (build.alice(), 1), (build.bob(), 1), (build.olga(), 1)):
        answer = build.client_of(who).get(f"/api/v1/index/preview/changes/{change('C12').pk}/charges").json()
        assert len(answer["results"]) == n
    listed = build.client_of(build.mallory()).get("/api/v1/index/preview/changes").json()["results"]
    assert listed
    assert all(one["pools"] == [] for one in listed)
    named = build.client_of(build.bob()).get("/api/v1/index/preview/changes").json()["results"]
    assert any(one["pools"] for one in named)
    assert str(charge.task_id) not in str(listed)


def test_a_live_value_leads_to_its_charges(charge: Charge) -> None:
    count_months(LATER)
    for variable, region in (("live_fp32_used_general", "640000"), ("live_revenue", "640000"), ("live_customers", "310000")):
        one = Observation.objects.get(variable=variable, region=region)
        assert f"/index/observations/{one.pk}/charges/" in page(f"/index/observations/{one.pk}/", build.alice())
        path = f"/index/observations/{one.pk}/charges/"
        assert str(charge.task_id) in page(path, build.alice())
        assert str(charge.task_id) in page(path, build.olga())
        assert str(charge.task_id) not in page(path, build.mallory())
        answer = build.client_of(build.alice()).get(f"/api/v1/index/observations/{one.pk}/charges")
        assert [row["id"] for row in answer.json()["results"]][-1] == charge.pk
    scale = Observation.objects.get(variable="live_fp32_general", region="640000")
    answer = build.client_of(build.alice()).get(f"/api/v1/index/observations/{scale.pk}/charges")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_traceable")


def test_the_door_says_that_it_is_no_edition(charge: Charge) -> None:
    answer = build.client_of(build.mallory()).get("/api/v1/index/preview").json()
    assert answer["official"] is False
    assert answer["base"] is None
    assert all(one["index"] is None for one in answer["regions"]), "no province is known in all four parts"


def test_bad_questions_are_refused_and_pages_ask_few_questions(charge: Charge) -> None:
    client = Client()
    client.force_login(build.olga().user)
    assert client.get("/index/preview/?node=X").status_code == 404
    for path in ("/index/preview/changes/0/", f"/index/preview/changes/{2**70}/", "/index/observations/1/charges/"):
        assert client.get(path).status_code == 404
    for path in ("/index/preview/?node=A", "/index/preview/?node=A11&before=9", f"/index/preview/changes/{change('C12').pk}/"):
        client.get(path)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        assert len(queries) <= 12, path


def test_before_the_first_count_the_page_says_so() -> None:
    client = Client()
    client.force_login(build.alice().user)
    assert client.get("/index/preview/").status_code == 404
    assert build.client_of(build.alice()).get("/api/v1/index/preview").json()["code"] == "preview_unknown"
