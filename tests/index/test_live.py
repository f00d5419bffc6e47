"""The platform counts itself: where its pools stand, where its customers are, how they rate it. Stored with its window."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.test import Client

from billing.services import charge_tasks
from index.defining import ensure_shipped
from index.live.services import Window, count, count_months
from index.models import Observation, ObservationBatch, TaskRating, WeightSet
from index.running.services import Wanted, run_index
from marketplace.models import Organization, Pool, Region
from scheduler.models import Prediction, Probe
from tests import builders as build
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_pool, make_task, make_usage

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
START = datetime(2026, 3, 1, tzinfo=UTC)


def province(code: str, gb: str) -> Region:
    fields = {"name": code, "name_zh": code, "latitude": 0, "longitude": 0, "gb_code": gb}
    return Region.objects.update_or_create(code=code, defaults=fields)[0]


@pytest.fixture
def market() -> Market:
    """bob's general pool in Ningxia and an AI pool in Guizhou; alice is in Shanghai and makes software."""
    found = make_market(rates={"core_second": "1"})
    ningxia, guizhou, shanghai = province("ningxia", "640000"), province("guizhou", "520000"), province("shanghai", "310000")
    Pool.objects.filter(pk=found.pool.pk).update(region=ningxia, fp32_mflops=2_000_000, verified_at=START - timedelta(days=9))
    other = make_pool(found.bob, kind="intelligent", fp32_mflops=9_000_000, verified_at=NOW - timedelta(hours=1))
    Pool.objects.filter(pk=other.pk).update(region=guizhou)
    Organization.objects.filter(pk=found.alice.pk).update(region=shanghai, industry="I")
    found.alice.refresh_from_db()
    return found


def done(market: Market, at: datetime, **usage: Any) -> Any:
    task = make_task(market, ended_at=at)
    attempt = make_attempt(market, task, make_need(), leased_at=at - timedelta(minutes=5), ended_at=at)
    make_usage(market, task, attempt, core_ms=3_000, fp32_gflop=Decimal("7.5"), measured_at=at, **usage)
    type(task).objects.filter(pk=task.pk).update(settled_at=at, started_at=at - timedelta(minutes=5))
    return task


def counted(now: datetime = NOW) -> dict[tuple[str, str], Decimal]:
    count_months(now)
    newest = ObservationBatch.objects.filter(origin="live").latest("pk")
    return {(one.variable, one.region): one.value.normalize() for one in newest.observations.all()}


def test_what_is_offered_and_used_counts_where_pools_stand(market: Market) -> None:
    done(market, NOW - timedelta(days=2))
    done(market, START - timedelta(days=1))
    found = counted()
    assert found["live_fp32_general", "640000"] == 2 * 10**12
    assert found["live_fp32_ai", "520000"] == 9 * 10**12
    assert found["live_fp32_offered_ai", "520000"] == 9 * 10**12 * 3600, "since it was verified"
    assert found["live_fp32_offered_general", "640000"] == 2 * 10**12 * (NOW - START).total_seconds()
    assert found["live_fp32_used_general", "640000"] == Decimal("7.5") * 10**9
    assert found["live_providers", "640000"] == found["live_providers_existing", "640000"] == 1
    assert found["live_providers_emerging", "520000"] == 1
    assert ("live_providers_emerging", "640000") not in found


def test_customers_count_where_they_are_and_starts_against_what_was_promised(market: Market) -> None:
    for late in (0, 0, 3600):
        task = done(market, NOW - timedelta(days=1))
        promised = {"start_p50_s": 1, "start_p90_s": 60, "finish_p50_s": 1, "finish_p90_s": 2, "price": 1, "tflop": 1}
        made = NOW - timedelta(days=1, minutes=5, seconds=30 + late)
        Prediction.objects.create(task=task, made_at=made, **promised)
    found = counted()
    assert found["live_customers", "310000"] == 1
    assert found["live_industries", "310000"] == 1
    assert found["live_started", "310000"] == 3
    assert found["live_started_in_time", "310000"] == 2


def test_revenue_is_of_this_month_and_the_one_before(market: Market) -> None:
    task = make_task(market, ended_at=NOW)
    attempt = make_attempt(market, task, make_need(), leased_at=NOW - timedelta(minutes=5), ended_at=NOW)
    make_usage(market, task, attempt, core_ms=3_000)
    charge_tasks([task.pk])
    now = datetime.now(UTC)
    found = counted(now + timedelta(seconds=1))
    assert found["live_revenue", "640000"] == Decimal("3.002"), "with the fee"
    later = counted((now.replace(day=1) + timedelta(days=32)).replace(day=10))
    assert later["live_revenue_before", "640000"] == Decimal("3.002")
    assert ("live_revenue", "640000") not in later


def test_latency_is_the_median_of_what_pools_measured(market: Market) -> None:
    shanghai = Region.objects.get(code="shanghai")
    for seconds in (0.010, 0.020, 0.090):
        pool = make_pool(market.bob)
        said = {"latency_p90_s": 0.1, "jitter_p99_s": 0.001, "loss": 0, "mbps": 10, "measured_at": NOW - timedelta(hours=1)}
        Probe.objects.create(pool=pool, region=shanghai, latency_p50_s=seconds, **said)
    assert counted()["live_latency", "310000"] == 20


def test_few_ratings_are_drawn_to_the_mean_and_fewer_than_five_raters_are_not_told(market: Market) -> None:
    def rated(stars: int, organization: Organization) -> None:
        task = make_task(replace(market, alice=organization), ended_at=NOW)
        TaskRating.objects.create(task=task, organization=organization, stars=stars, rated_at=NOW - timedelta(days=1))

    raters = [build.an_organization(f"rater{n}", region=Region.objects.get(code="shanghai")) for n in range(5)]
    for one in raters[:4]:
        rated(5, one)
    assert ("live_satisfaction", "310000") not in counted()
    rated(3, raters[4])
    assert counted()["live_satisfaction", "310000"] == Decimal(90), "alone it is the platform's mean: 4.6 stars"
    elsewhere = [build.an_organization(f"other{n}", region=Region.objects.get(code="ningxia")) for n in range(5)]
    for one in elsewhere:
        rated(1, one)
    found = counted()
    assert found["live_satisfaction", "640000"] == Decimal(30), "five of 1 star, ten of the mean 2.8"
    assert found["live_satisfaction", "310000"] == Decimal(60)


def test_a_count_is_kept_once_and_the_newest_stands(market: Market) -> None:
    ensure_shipped()
    window = Window.of(NOW, NOW)
    first = count(window)
    assert first
    assert first.observations.exclude(unit="FLOP_FP32").exists()
    assert count(window) is None, "nothing has changed"
    done(market, NOW - timedelta(days=2))
    second = count(window)
    assert second
    equal = WeightSet.objects.get(definition__code="cpsdi-2023", kind="placeholder")
    run = run_index(Wanted(equal, "platform", "2026-03"))
    value, number, synthetic = run.read("inputs")["live_fp32_used_general"]["640000"]
    assert (value, synthetic) == ("7500000000", False)
    assert Observation.objects.get(pk=number).batch_id == second.pk
    assert Observation.objects.get(pk=number).evidence["n"] == 1
    with pytest.raises(DatabaseError), transaction.atomic():
        first.observations.update(value=1)


def test_the_month_before_is_counted_again_while_it_may_change(market: Market) -> None:
    done(market, datetime(2026, 2, 27, tzinfo=UTC))
    names = {batch.name for batch in count_months(START + timedelta(days=1))}
    assert names == {"live 2026-02", "live 2026-03"}
    assert {batch.name for batch in count_months(NOW)} == {"live 2026-03"}
    call_command("index_count")


def test_a_delivered_task_is_rated_by_who_asked_for_it(market: Market) -> None:
    alice, mallory = build.alice(), build.mallory()
    mine = replace(market, alice=alice.organization)
    task, running = make_task(mine), make_task(mine, state="running")
    client = build.client_of(alice)
    path = f"/api/v1/tasks/{task.pk}/rating"
    assert client.put(path, {"stars": 4}).json()["stars"] == 4
    assert client.put(path, {"stars": 2, "comment": "slow"}).json()["comment"] == "slow"
    assert TaskRating.objects.get().stars == 2, "the last word stands"
    assert client.put(path, {"stars": 6}).status_code == 422
    assert client.put(f"/api/v1/tasks/{running.pk}/rating", {"stars": 4}).json()["code"] == "task_not_delivered"
    assert build.client_of(mallory).put(path, {"stars": 1}).status_code == 404
    assert build.client_of(build.alice("viewer")).put(path, {"stars": 1}).status_code == 403


def test_operators_count_on_demand_by_the_door_and_by_a_button(market: Market) -> None:
    client = Client()
    client.force_login(build.olga().user)
    (batch,) = [one for one in client.post("/api/v1/index/counts").json() if one["rows"]]
    assert (batch["origin"], batch["profile"]) == ("live", "platform")
    Pool.objects.filter(pk=market.pool.pk).update(fp32_mflops=6_000_000)
    assert client.post("/index/data/count/").status_code == 302
    assert ObservationBatch.objects.filter(origin="live").count() == 2
    alice = Client()
    alice.force_login(build.alice().user)
    assert alice.post("/api/v1/index/counts").status_code == 403


def test_new_applications_are_those_that_a_provinces_customers_used(market: Market) -> None:
    task = done(market, NOW - timedelta(hours=2))
    assert counted()["live_new_applications", "310000"] == 0, "used, and none of them new"
    capability = task.capability_version.capability
    olga, alice = Client(), Client()
    olga.force_login(build.olga().user)
    alice.force_login(build.alice().user)
    door = f"/api/v1/capabilities/{capability.organization.slug}/{capability.name}/application"
    assert alice.post(door, {"application": "large_model"}, content_type="application/json").status_code == 403
    wrong = olga.post(door, {"application": "abacus"}, content_type="application/json").json()
    assert (wrong["code"], wrong["field"]) == ("application_unknown", "application")
    assert olga.post(door, {"application": "large_model"}, content_type="application/json").json()["application"] == "large_model"
    done(market, NOW - timedelta(hours=1))
    assert counted()["live_new_applications", "310000"] == 1, "of two tasks"
    with pytest.raises(DatabaseError), transaction.atomic():
        type(capability).objects.filter(pk=capability.pk).update(application="abacus")


def test_where_pools_are_none_of_a_kind_is_a_fact_and_elsewhere_nothing_is_known(market: Market) -> None:
    found = counted()
    assert found["live_fp32_general", "640000"] == 2_000_000 * 10**6
    assert {found[f"live_fp32_{part}", "640000"] for part in ("ai", "super", "used_general", "used_ai", "offered_super")} == {0}
    assert found["live_fp32_ai", "520000"] == 9_000_000 * 10**6
    assert not any(region == "310000" and variable.startswith("live_fp32") for variable, region in found), "alice has no pools"
