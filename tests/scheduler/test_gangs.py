"""Gangs through the services: placed all at once on one pool or not at all, whatever comes between."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from core.errors import Invalid
from marketplace.manifest import check_manifest
from marketplace.models import Pool, Task
from scheduler.models import Need, Unit
from scheduler.services import placing
from scheduler.services.advancing import cancel_task
from scheduler.services.explaining import explain_task
from scheduler.services.placing import replay_round, run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_manifest, a_task, a_version, run_to_end
from tests.scheduler.meanwhile import Running, at_once, stopped_after

HOUR = {"demand": {"tflop": "45"}}  # on one core of the tests' pools, so that nothing is fetched ahead


def a_gang(count: int = 8, **fields: Any) -> Task:
    return a_task(version=a_version(gang=True, **HOUR), inputs={"count": count}, **fields)


def crowd(count: int, region: str = "ningxia") -> Task:
    """Units that take a core each for an hour, and no gang."""
    return a_task(version=a_version(**HOUR), inputs={"count": count}, constraints={"regions": [region]})


def where(task: Task) -> list[tuple[str, int | None]]:
    """(state, pool) of the task's units, each once."""
    return sorted(set(Unit.objects.filter(task=task, stage=0).values_list("state", "pool")), key=str)


@pytest.mark.django_db
def test_a_gang_is_placed_whole_on_the_cheapest_pool_that_has_room_for_all_of_it() -> None:
    a_pool(cores=6, rates={"core_second": "0.000001"})
    large = a_pool(cores=8)
    task = a_gang()
    assert run_round() == 8
    assert where(task) == [("placed", large.pk)]
    agent = FakeAgent.of(large)
    assert len(agent.beat(want=8).leased) == 8


@pytest.mark.django_db
def test_a_gang_waits_while_one_unit_too_many_runs_and_says_so_and_starts_when_that_is_over() -> None:
    pool = a_pool(cores=8)
    agent = FakeAgent.of(pool)
    crowd(1)
    run_round()
    agent.beat(want=1)
    task = a_gang()
    assert run_round() == 0
    told = explain_task(task)["waiting"]
    assert told is not None
    assert (told["reason"], told["units"]) == ("waiting_for_gang", 8)
    assert told["detail"] == f"its 8 units start together on one pool; {pool.identifier} has most room now, for 7 of them"
    agent.done()
    told = explain_task(task)["waiting"]
    assert told is not None
    assert told["reason"] == "next_round"
    assert run_round() == 8
    assert where(task) == [("placed", pool.pk)]


@pytest.mark.django_db
def test_a_gang_that_no_pool_could_ever_hold_is_refused_and_says_so_when_the_pool_became_smaller() -> None:
    pool = a_pool(cores=6)
    with pytest.raises(Invalid) as caught:
        a_gang()
    assert (caught.value.code, caught.value.field) == ("gang_without_pool", "inputs")
    Pool.objects.filter(pk=pool.pk).update(cores=8)
    task = a_gang()
    Pool.objects.filter(pk=pool.pk).update(cores=6)
    told = explain_task(task)["waiting"]
    assert told is not None
    assert (told["reason"], told["excluded"]) == ("no_pool_fits", {"gang": 1})


@pytest.mark.django_db
def test_two_gangs_that_fit_only_one_after_the_other_both_come_to_their_end() -> None:
    agents = [FakeAgent.of(a_pool(cores=8)), FakeAgent.of(a_pool(cores=8, region="gansu"))]
    crowd(4), crowd(4, "gansu")
    run_round()
    for agent in agents:
        agent.beat(want=8)
    gangs = [a_gang(), a_gang(), a_gang()]
    assert run_round() == 0, "half of each pool is free, and nobody takes a half"
    seen = []
    for _ in range(6):
        for agent in agents:
            agent.done() if agent.held else None
        run_round()
        seen += [len({pool for _, pool in where(gang)}) for gang in gangs]
        for agent in agents:
            agent.beat(want=8)
    assert set(seen) == {1}
    assert [where(gang)[0][0] for gang in gangs] == ["done"] * 3


@pytest.mark.django_db
def test_equal_gangs_of_two_tasks_are_two_gangs() -> None:
    version = a_version(gang=True, **HOUR)
    small, large = a_pool(cores=4), a_pool(cores=8)
    tasks = [a_task(version=version, inputs={"count": 4}) for _ in range(3)]
    assert run_round() == 12
    assert all(len(where(task)) == 1 for task in tasks)
    assert {pool for task in tasks for _, pool in where(task)} == {small.pk, large.pk}


@pytest.mark.django_db
def test_a_gang_that_lost_a_unit_meanwhile_is_not_placed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = a_pool()
    task = a_gang()
    other = crowd(3)
    real = placing.plan

    def plan_slowly(snapshot: Any, **limits: Any) -> Any:
        Unit.objects.filter(task=task, index=3).update(state="cancelled")
        return real(snapshot, **limits)

    monkeypatch.setattr(placing, "plan", plan_slowly)
    assert run_round() == 0
    assert where(task) == [("cancelled", None), ("waiting", None)]
    assert where(other) == [("waiting", None)]
    monkeypatch.setattr(placing, "plan", real)
    assert run_round() == 7 + 1
    assert where(task) == [("cancelled", None), ("placed", pool.pk)]


@pytest.mark.django_db
def test_control_without_the_guard_seven_of_eight_would_start(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool()
    task = a_gang()
    guard = "AND (NOT plan.whole OR picked.there >= plan.upto)"
    assert placing._COMMIT.count(guard) == 1
    real = placing.plan

    def plan_slowly(snapshot: Any, **limits: Any) -> Any:
        Unit.objects.filter(task=task, index=3).update(state="cancelled")
        return real(snapshot, **limits)

    monkeypatch.setattr(placing, "plan", plan_slowly)
    monkeypatch.setattr(placing, "_COMMIT", placing._COMMIT.replace(guard, ""))
    assert run_round() == 7


@pytest.mark.django_db(transaction=True)
def test_a_gang_of_which_another_step_holds_a_unit_waits_for_the_next_round() -> None:
    pool = a_pool()
    task = a_gang()
    with transaction.atomic():
        Unit.objects.select_for_update().get(task=task, index=5)
        assert Running(run_round).start().result == 0
    assert where(task) == [("waiting", None)]
    assert run_round() == 8
    assert where(task) == [("placed", pool.pk)]


@pytest.mark.django_db(transaction=True)
def test_a_gang_cancelled_while_a_round_commits_never_runs_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool()
    task = a_gang()
    with stopped_after(monkeypatch, placing, "notify_pool", run_round) as first:
        cancel_task(task.pk)
    assert first.result == 8
    assert cancel_task(task.pk).state == "cancelled"
    assert where(task)[0][0] == "cancelled"
    assert len(where(task)) == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_comes_first_a_gang_is_cancelled_whole_or_placed_whole() -> None:
    a_pool()
    for _ in range(5):
        task = a_gang()
        at_once(run_round, lambda task=task: cancel_task(task.pk))
        assert len({state for state, _ in where(task)}) == 1, where(task)
        cancel_task(task.pk)


@pytest.mark.django_db
def test_a_unit_that_is_tried_again_starts_though_the_others_go_on() -> None:
    pool, agent_of = a_pool(), FakeAgent.of
    task = a_gang(4)
    run_round()
    agent = agent_of(pool)
    agent.beat(want=4)
    (attempt, fence), *_ = agent.held.items()
    agent.report({"attempt": attempt, "fence": fence, "outcome": "failed", "reason_class": "node_fault"})
    Unit.objects.filter(task=task).update(not_before=None)
    assert run_round() == 1
    assert run_to_end(task, agent).state == "delivered"


@pytest.mark.django_db
def test_a_stored_round_with_a_gang_replays() -> None:
    a_pool()
    a_gang()
    run_round()
    (this,) = placing.Round.objects.all()
    assert [sum(p.units for p in one.placements) for one in replay_round(this)] == [8]


@pytest.mark.django_db
def test_the_need_of_a_gang_names_its_size_and_its_task_and_a_single_unit_is_none() -> None:
    a_pool()
    task, single = a_gang(3), a_gang(1)
    documents = {one: Need.objects.filter(unit__task=one).distinct().get().document for one in (task, single)}
    assert (documents[task]["gang"], documents[task]["gang_of"]) == (3, str(task.pk))
    assert "gang" not in documents[single]


@pytest.mark.django_db
def test_a_gang_too_large_or_compared_is_refused_with_its_field() -> None:
    for work, code, field in (
        (lambda: a_gang(1001), "too_many_units", "inputs.count"),
        (lambda: a_gang(2, verify="exact"), "verify_of_gang", "verify"),
        (lambda: check_manifest(a_manifest() | {"gang": True, "verify": "exact"}), "invalid_manifest", "gang"),
        (lambda: check_manifest(a_manifest() | {"gang": "yes"}), "invalid_manifest", "gang"),
    ):
        with pytest.raises(Invalid) as caught:
            work()
        assert (caught.value.code, caught.value.field) == (code, field)
