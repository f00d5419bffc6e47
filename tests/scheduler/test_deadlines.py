"""Deadlines at the door: what cannot hold is refused with the nearest that does and its price, and that one is kept to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from marketplace.models import Pool
from scheduler.models import Unit
from scheduler.services.expanding import expand_task
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from tests.builders import a_pool, alice, client_of
from tests.builders_http import nothing_written, problem_of
from tests.builders_tasks import a_task, a_version

pytestmark = pytest.mark.django_db
SLOW = {"demand": {"tflop": "10"}, "limits": {"run_s": 3600}, "tests": []}  # a quarter of an hour on the pool of the tests


def test_a_deadline_that_nine_of_ten_would_miss_is_refused_with_the_nearest_that_holds_and_its_price() -> None:
    a_pool()
    client, body = client_of(alice()), {"capability": str(a_version(**SLOW))}
    with nothing_written():
        refused = client.post("/api/v1/tasks", body | {"deadline": (timezone.now() + timedelta(minutes=1)).isoformat()})
        assert problem_of(refused) == (422, "deadline_unreachable", "deadline")
    told = refused.json()
    quoted = client.post("/api/v1/quotes", body | {"deadline": told["nearest_deadline"]}).json()
    assert quoted["fastest"]["price"] == told["price"]
    kept = client.post("/api/v1/tasks", body | {"deadline": told["nearest_deadline"]})
    assert kept.status_code == 201
    expand_task(kept.json()["id"])
    run_round()
    assert Unit.objects.get(task_id=kept.json()["id"]).state == "placed"


def test_what_waits_and_can_no_longer_be_over_in_time_says_so() -> None:
    pool = a_pool()
    task = a_task(version=a_version(**SLOW), deadline=timezone.now() + timedelta(minutes=40))
    Pool.objects.filter(pk=pool.pk).update(fp32_mflops=pool.fp32_mflops // 10)  # found slower meanwhile
    told = explain_task(task)["waiting"]
    assert told is not None
    assert (told["reason"], told["excluded"]) == ("deadline_unreachable", {"deadline": 1})
