"""Near misses: the change that /explain names is applied, the task is asked for again, and it runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from marketplace.models import Pool
from scheduler.models import NetworkLink, Trust, Unit
from scheduler.services.drafting import Asker, Request
from scheduler.services.expanding import expand_task
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.services.submitting import submit_task
from tests.builders import a_person, a_pool, alice, an_organization, client_of
from tests.builders_network import a_link
from tests.builders_tasks import a_version

pytestmark = pytest.mark.django_db
LONG = {"demand": {"tflop": "1.25"}}  # a hundred seconds on the pool of the tests


def asked(version: Any, **fields: Any) -> Any:
    """alice's task of one unit, expanded; a round has looked at it."""
    task, _ = submit_task(Asker(alice().organization), Request(str(version), {"count": 1}, **fields))
    expand_task(task.pk)
    run_round()
    return task


def applied(request: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The request with a near miss's change."""
    changed = {**request, "constraints": dict(request.get("constraints", {}))}
    for name, value in change.items():
        if name == "deadline":
            changed["deadline"] = datetime.fromisoformat(value)
        else:
            changed["constraints"][name.removeprefix("constraints.")] = value
    return changed


def placed_on(task: Any) -> str | None:
    unit = Unit.objects.select_related("pool").get(task=task)
    return unit.pool.identifier if unit.pool else None


def nearest_of(task: Any) -> dict[str, Any]:
    waiting = explain_task(task)["waiting"]
    assert waiting is not None
    return dict(waiting["misses"][0])


@pytest.mark.parametrize("dimension", ["region", "provider", "price", "deadline"])
def test_the_smallest_change_that_is_named_lets_the_task_run(dimension: str) -> None:
    other = a_person("erin", an_organization("erins-pools", is_provider=True))
    gone = a_pool(rates={"core_second": "0.00001"}, fp32_mflops=10**7)  # it would do, and is about to leave the market
    near = a_pool(other, region="gansu", rates={"core_second": "0.001"})
    wishes: dict[str, dict[str, Any]] = {
        "region": {"constraints": {"regions": ["ningxia"]}},
        "provider": {"constraints": {"exclude_providers": ["erins-pools"]}},
        "price": {"constraints": {"max_price": "0.01"}},
        "deadline": {"deadline": timezone.now() + timedelta(seconds=30)},
    }
    version, request = a_version(**LONG), wishes[dimension]
    draft = Request(str(version), {"count": 1}, **request)
    task, _ = submit_task(Asker(alice().organization), draft)
    Pool.objects.filter(pk=gone.pk).update(state="suspended")
    expand_task(task.pk)
    run_round()
    assert placed_on(task) is None

    miss = nearest_of(task)

    assert (miss["pool"], miss["lacks"]) == (near.identifier, [dimension])
    again = asked(version, **applied(request, miss["change"]))
    assert placed_on(again) == near.identifier


def test_a_pool_that_fails_twice_names_both_changes_and_needs_both() -> None:
    gone = a_pool(rates={"core_second": "0.00001"})
    near = a_pool(region="gansu", rates={"core_second": "0.001"})
    version, request = a_version(**LONG), {"constraints": {"regions": ["ningxia"], "max_price": "0.01"}}
    task, _ = submit_task(Asker(alice().organization), Request(str(version), {"count": 1}, **request))
    Pool.objects.filter(pk=gone.pk).update(state="suspended")
    expand_task(task.pk)
    run_round()
    miss = nearest_of(task)
    assert miss["lacks"] == ["region", "price"]
    assert set(miss["change"]) == {"constraints.regions", "constraints.max_price"}
    again = asked(version, **applied(request, miss["change"]))
    assert placed_on(again) == near.identifier


def test_what_the_capability_needs_is_nothing_that_a_user_could_change() -> None:
    gone = a_pool(cores=16, rates={"core_second": "0.00001"})
    small = a_pool(cores=2, region="gansu")
    version = a_version(resources={"cores": 12, "memory_mib": 64, "disk_mib": 64})
    task, _ = submit_task(Asker(alice().organization), Request(str(version), {"count": 1}))
    Pool.objects.filter(pk=gone.pk).update(state="suspended")
    expand_task(task.pk)
    run_round()
    miss = nearest_of(task)
    assert (miss["pool"], miss["lacks"], miss["change"]) == (small.identifier, ["cores"], None)


def a_record(pool: Pool, version: Any, valid: float) -> None:
    Trust.objects.create(pool=pool, capability_version=version, valid=valid, samples=int(valid), updated_at=timezone.now())


def the_ways() -> None:
    """From shanghai to gansu: 2 ms that jitter like best effort, 6 ms of class 2; nothing is of class 1."""
    a_link("sh", "gs", regions=("shanghai", "gansu"), jitter_p99_s=0.05)
    slow = {"latency_p50_s": 0.003, "latency_p90_s": 0.003, "jitter_p99_s": 0.005}
    a_link("sh", "mid", regions=("shanghai", "henan"), **slow)
    a_link("mid", "gs", regions=("henan", "gansu"), **slow)
    for source, target in (("gs", "sh"), ("gs", "mid"), ("mid", "sh")):
        a_link(source, target)


NEARLY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "min_trust": ({"min_trust": "0.97"}, {"min_trust": "0.8999"}),
    "min_level": ({"min_level": 3}, {"min_level": 2}),
    "both floors": ({"min_trust": "0.97", "min_level": 4}, {"min_trust": "0.8999", "min_level": 2}),
    "network": (
        {"network": {"from": "shanghai", "jitter_class": 1}},
        {"network": {"from": "shanghai", "jitter_class": 2}},
    ),
    "latency": (
        {"network": {"from": "shanghai", "jitter_class": 2, "max_latency_s": 0.005}},
        {"network": {"from": "shanghai", "jitter_class": 2, "max_latency_s": 0.006481}},
    ),
}


def about(value: Any) -> Any:
    """Texts and whole numbers as they are, seconds to a hundredth of a millisecond."""
    if isinstance(value, dict):
        return {name: about(one) for name, one in value.items()}
    return round(value, 5) if isinstance(value, float) else value


def nearly_admitted(version: Any) -> Pool:
    """A pool in gansu of level 2 with seven right results; another one that is further from everything but it costs less."""
    the_ways()
    near = a_pool(region="gansu", rates={"core_second": "0.001"}, level=2)
    far = a_pool(a_person("erin", an_organization("erins-pools", is_provider=True)), region="tibet", level=1)
    a_record(near, version, 7.0005)  # an expected trust of 0.900005
    Trust.objects.create(pool=far, capability_version=version, invalid=2, samples=2, updated_at=timezone.now())
    return near


@pytest.mark.parametrize("wish", NEARLY)
def test_of_floors_and_classes_the_least_change_is_named_and_lets_the_task_run(wish: str) -> None:
    version = a_version(**LONG)
    gone = a_pool(region="shanghai", level=4, rates={"core_second": "0.00001"})
    a_record(gone, version, 100)
    near = nearly_admitted(version)
    constraints, eased = NEARLY[wish]
    request = {"constraints": constraints}
    task, _ = submit_task(Asker(alice().organization), Request(str(version), {"count": 1}, **request))
    Pool.objects.filter(pk=gone.pk).update(state="suspended")
    expand_task(task.pk)
    run_round()
    assert placed_on(task) is None

    miss = nearest_of(task)

    assert miss["pool"] == near.identifier
    again = applied(request, miss["change"])
    assert about(again["constraints"]) == about(eased)
    assert placed_on(asked(version, **again)) == near.identifier


@pytest.mark.parametrize("wish", ["min_trust", "latency"])
def test_a_change_still_holds_minutes_later_although_records_fade_and_ways_age(wish: str) -> None:
    version = a_version(**LONG)
    gone = a_pool(region="shanghai", level=4, rates={"core_second": "0.00001"})
    a_record(gone, version, 100)
    near = nearly_admitted(version)
    NetworkLink.objects.update(origin="probe")
    request = {"constraints": NEARLY[wish][0]}
    task, _ = submit_task(Asker(alice().organization), Request(str(version), {"count": 1}, **request))
    Pool.objects.filter(pk=gone.pk).update(state="suspended")
    expand_task(task.pk)
    miss = nearest_of(task)
    earlier = timezone.now() - timedelta(minutes=4)
    Trust.objects.update(updated_at=earlier)
    for link in NetworkLink.objects.all():
        link.measured_at = earlier
        link.save()
    assert placed_on(asked(version, **applied(request, miss["change"]))) == near.identifier


def test_over_http_what_the_explanation_names_is_asked_for_again_and_runs() -> None:
    version = a_version(**LONG)
    gone = a_pool(region="shanghai", level=4, rates={"core_second": "0.00001"})
    a_record(gone, version, 100)
    near = nearly_admitted(version)
    wish = {"min_trust": "0.97", "min_level": 4, "network": {"from": "shanghai", "jitter_class": 1}}
    client, body = client_of(alice()), {"capability": str(version), "inputs": {"count": 1}, "constraints": wish}
    task = client.post("/api/v1/tasks", body).json()
    Pool.objects.filter(pk=gone.pk).update(state="suspended")
    expand_task(task["id"])
    run_round()
    (miss, *_) = client.get(f"/api/v1/tasks/{task['id']}/explain").json()["waiting"]["misses"]
    assert (miss["pool"], miss["lacks"]) == (near.identifier, ["trust", "network"])
    again = client.post("/api/v1/tasks", applied(body, miss["change"]))
    assert again.status_code == 201, again.json()
    expand_task(again.json()["id"])
    run_round()
    where = client.get(f"/api/v1/tasks/{again.json()['id']}/explain").json()["where"]
    assert [one["pool"] for one in where] == [near.identifier]
