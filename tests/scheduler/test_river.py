"""The river, step by step through its services, with an agent that has no machine."""

from __future__ import annotations

import pytest

from marketplace.models import Task
from scheduler import jobs
from scheduler.models import Attempt, Ended, Unit
from scheduler.services.expanding import expand_task
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, run_to_end

pytestmark = pytest.mark.django_db


def test_a_task_of_many_units_is_delivered() -> None:
    pool = a_pool()
    task = a_task(inputs={"count": 25})

    task = run_to_end(task, FakeAgent.of(pool))

    assert task.state == Task.State.DELIVERED
    assert task.units_done == 25
    assert Attempt.objects.filter(task=task, state="valid").count() == 25
    assert Ended.objects.filter(attempt__task=task).count() == 25
    assert [e.seq for e in task.events.order_by("seq")] == list(range(1, task.events.count() + 1))


def test_expanding_twice_makes_no_second_units() -> None:
    a_pool()
    task = a_task(inputs={"count": 10})

    expand_task(task.pk)

    assert Unit.objects.filter(task=task).count() == 10


def test_matching_gives_units_to_a_pool_only_up_to_its_horizon() -> None:
    pool = a_pool(cores=2)
    task = a_task(inputs={"count": 1000})

    placed = run_round()

    assert placed is not None
    assert 0 < placed < 1000
    assert Unit.objects.filter(task=task, state="placed", pool=pool).count() == placed
    assert run_round() == 0


def test_a_wake_that_meets_a_round_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written while that round looked elsewhere would otherwise wait for the sweep."""
    sent: list[tuple[str, float]] = []
    monkeypatch.setattr(jobs, "run_round", lambda: None)
    monkeypatch.setattr(jobs, "wake", lambda job, *, delay_s: sent.append((job, delay_s)))
    jobs.match()
    monkeypatch.setattr(jobs, "run_round", lambda: 0)
    jobs.match()
    assert sent == [("scheduler.match", jobs.AGAIN_S)]
