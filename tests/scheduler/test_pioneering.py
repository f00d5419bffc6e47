"""Where nobody knows what a unit takes, one runs first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from marketplace.models import Task
from scheduler.models import Unit
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import sweep
from scheduler.services.explaining import explain_task
from scheduler.services.pioneering import PROBE_BOUND, PROBE_FROM
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.scheduler.test_demand import seen

pytestmark = pytest.mark.django_db
UNKNOWN: dict[str, Any] = {"demand": {"tflop": "0"}}
MANY = PROBE_FROM + 4


def units_of(task: Task) -> int:
    return Unit.objects.filter(task=task).count()


def swept(task: Task) -> Task:
    """The task after the sweep has had its say."""
    work = sweep()
    for task_id in work["advance"]:
        advance_task(task_id)
    for task_id in sweep()["expand"]:
        expand_task(task_id)
    task.refresh_from_db()
    return task


def test_one_unit_of_many_runs_first_and_the_rest_follows_when_it_is_done() -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    task = a_task(version=a_version(**UNKNOWN), inputs={"count": MANY})
    assert (units_of(task), task.units_open, task.units_total) == (1, 1, MANY)
    run_round()
    agent.beat(want=99)
    assert explain_task(task)["waiting"]["reason"] == "probing"
    agent.done(wall_ms=3)
    assert advance_task(task.pk) == "running"
    expand_task(task.pk)
    assert units_of(task) == MANY
    assert run_to_end(task, agent).state == "delivered"


def test_without_a_wake_the_sweep_takes_the_step() -> None:
    agent = FakeAgent.of(a_pool())
    task = a_task(version=a_version(**UNKNOWN), inputs={"count": MANY})
    run_round()
    agent.beat(want=9)
    assert units_of(swept(task)) == 1  # nothing to do while the probe runs
    agent.done()
    assert units_of(swept(task)) == MANY


def test_a_probe_that_hangs_holds_its_task_for_two_minutes_at_most() -> None:
    a_pool()
    task = a_task(version=a_version(**UNKNOWN), inputs={"count": MANY})
    assert units_of(swept(task)) == 1
    Task.objects.filter(pk=task.pk).update(probing_until=timezone.now() - timedelta(seconds=1))
    assert units_of(swept(task)) == MANY


def test_a_clock_that_was_set_back_ends_the_probe() -> None:
    task = a_task_on_a_pool()
    Task.objects.filter(pk=task.pk).update(probing_until=timezone.now() + PROBE_BOUND + timedelta(hours=5))
    assert units_of(swept(task)) == MANY


def a_task_on_a_pool() -> Task:
    a_pool()
    return a_task(version=a_version(**UNKNOWN), inputs={"count": MANY})


def test_expanding_again_makes_nothing_more_while_the_probe_runs() -> None:
    task = a_task_on_a_pool()
    assert expand_task(task.pk) == expand_task(task.pk) == 1


def test_a_probe_that_fails_for_good_fails_its_task_before_the_rest_costs_anything() -> None:
    agent = FakeAgent.of(a_pool())
    task = a_task(version=a_version(**UNKNOWN), inputs={"count": MANY})
    run_round()
    agent.beat(want=9)
    agent.failed("capability_error")
    assert advance_task(task.pk) == "failed"
    assert units_of(task) == 1


def test_a_task_can_be_cancelled_while_its_probe_waits() -> None:
    assert cancel_task(a_task_on_a_pool().pk).state == "cancelled"


@pytest.mark.parametrize(
    ("count", "demand", "known", "made"),
    [
        (MANY, {"tflop": "0"}, False, 1),
        (MANY, {"tflop": "1", "unsure": True}, False, 1),
        (MANY, {"tflop": "1", "unsure": True}, True, MANY),
        (MANY, {"tflop": "0"}, True, MANY),
        (MANY, {"tflop": "1"}, False, MANY),
        (PROBE_FROM - 1, {"tflop": "0"}, False, PROBE_FROM - 1),
    ],
)
def test_only_many_units_of_which_nothing_is_known_are_probed(count: int, demand: dict[str, Any], known: bool, made: int) -> None:
    a_pool()
    version = a_version(demand=demand)
    if known:
        seen(version)
    assert units_of(a_task(version=version, inputs={"count": count})) == made


def test_a_merge_still_waits_for_all_units_of_a_task_that_was_probed() -> None:
    agent = FakeAgent.of(a_pool(cores=64))
    merge = {"run": ["merge"], "outputs": []}
    task = a_task(version=a_version(merge=merge, **UNKNOWN), inputs={"count": MANY})
    run_round()
    agent.beat(want=9)
    agent.done()
    advance_task(task.pk)
    expand_task(task.pk)
    assert list(Unit.objects.filter(task=task, stage=1).values_list("state", flat=True)) == ["blocked"]
    assert run_to_end(task, agent).state == "delivered"
