"""What is predicted of a task, and how it is shown beside what came."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from marketplace.models import Task
from scheduler.jobs import expand
from scheduler.models import Prediction, Unit
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.services.predicting import predict_task
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.scheduler.test_referring import a_source, referring

pytestmark = pytest.mark.django_db
SLOW = {"demand": {"tflop": "0.125"}}  # ten seconds on the pool of the tests, which has eight cores


def predicted(task: Task) -> dict[str, Any]:
    found = explain_task(Task.objects.get(pk=task.pk))["prediction"]
    assert found is not None
    return dict(found)


def test_expanding_predicts_the_start_the_end_the_price_and_the_work() -> None:
    a_pool(rates={"core_second": "0.01"})
    version = a_version(fee={"per_unit": "0.5", "per_task": "1"}, **SLOW)
    task = a_task(version=version, inputs={"count": 16}, expanded=False)
    expand(str(task.pk))
    made = Prediction.objects.get(task=task)
    assert made.start_p50_s < 2 <= made.start_p50_s + 2
    assert made.finish_p50_s == pytest.approx(20, abs=2)  # two waves of ten seconds
    assert made.finish_p90_s > 1.5 * made.finish_p50_s  # nobody has seen a unit of it
    assert made.price == Decimal("10.6")  # 16 x (10 s x 0.01 + 0.5) + 1
    assert made.tflop == 2


def test_a_merge_comes_after_the_units() -> None:
    a_pool()
    merge = {"run": ["merge"], "outputs": [], "demand": {"tflop": "0.25"}}
    task = a_task(version=a_version(merge=merge, **SLOW), inputs={"count": 8})
    made = predict_task(task.pk)
    assert made is not None
    assert made.finish_p50_s == pytest.approx(30, abs=2)


def test_what_a_task_has_placed_already_is_no_load_to_its_own_prediction() -> None:
    a_pool()
    before, after = a_task(version=a_version(**SLOW), inputs={"count": 8}), a_task(version=a_version(**SLOW), inputs={"count": 8})
    Unit.objects.filter(task=after).update(state="cancelled")
    one = predict_task(before.pk)
    Prediction.objects.all().delete()
    assert run_round() == 8
    two, other = predict_task(before.pk), predict_task(after.pk)
    assert one is not None
    assert two is not None
    assert other is not None
    assert two.finish_p50_s == pytest.approx(one.finish_p50_s, abs=1)
    assert other.finish_p50_s > two.finish_p50_s + 5, "another's units are load"


def test_a_prediction_is_made_once_and_never_changed() -> None:
    a_pool()
    task = a_task(version=a_version(**SLOW))
    first = predict_task(task.pk)
    assert first is not None
    assert predict_task(task.pk) is None
    assert Prediction.objects.get().made_at == first.made_at


def test_predicting_takes_as_many_statements_for_a_million_units_as_for_one() -> None:
    a_pool()
    counts = []
    for count in (1, 1, 1_000_000):
        task = a_task(inputs={"count": count}, expanded=False)
        with CaptureQueriesContext(connection) as seen:
            predict_task(task.pk)
        counts.append(len(seen))
    assert counts[1] == counts[2] < 20


def test_nothing_is_predicted_where_no_pool_is_there_or_the_inputs_are_not() -> None:
    pool = a_pool()
    task = a_task(expanded=False)
    waiting = referring(a_source())
    assert predict_task(waiting.pk) is None
    pool.agents.update(lease_until="2026-01-01T00:00:00Z")
    assert predict_task(task.pk) is None
    assert explain_task(task)["prediction"] is None


def test_what_came_stands_beside_what_was_promised_with_the_record_of_the_last_tasks() -> None:
    agent = FakeAgent.of(a_pool())
    version = a_version(**SLOW)
    for _ in range(10):
        task = a_task(version=version)
        made = predict_task(task.pk)
        assert made is not None
        Prediction.objects.filter(task=task).update(start_p90_s=5.0, finish_p50_s=4.0, finish_p90_s=5.0)
        assert predicted(task)["actual"] == {"start_s": None, "finish_s": None}
        run_to_end(task, agent)
        Task.objects.filter(pk=task.pk).update(created_at=F("ended_at") - timedelta(seconds=10))
    told = predicted(task)
    assert told["actual"]["finish_s"] == 10.0
    record = told["calibration"]["finish"]
    assert record == {"tasks": 10, "within_p50": 0.0, "within_p90": 0.0, "factor": 2.0}
    assert told["predicted"]["finish_p90_s"] == 10.0  # corrected by what the others took


def test_tasks_that_ended_badly_are_no_part_of_the_record() -> None:
    agent = FakeAgent.of(a_pool())
    task = a_task(version=a_version(**SLOW))
    predict_task(task.pk)
    from scheduler.services.advancing import advance_task

    run_round()
    agent.beat(want=9)
    agent.failed("capability_error")
    advance_task(task.pk)
    told = predicted(task)
    assert told["calibration"]["finish"]["tasks"] == 0
    assert told["actual"]["finish_s"] is None
