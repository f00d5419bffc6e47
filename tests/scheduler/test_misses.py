"""Near misses: the change that /explain names is applied, the task is asked for again, and it runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from marketplace.models import Pool
from scheduler.models import Unit
from scheduler.services.drafting import Asker, Request
from scheduler.services.expanding import expand_task
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.services.submitting import submit_task
from tests.builders import a_person, a_pool, alice, an_organization
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
