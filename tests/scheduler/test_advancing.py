"""What a task does next: merge, deliver, or come to a bad end once nothing of it lives any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.utils import timezone

from core.errors import Conflict
from marketplace import storage
from marketplace.models import Agent, Task
from scheduler.models import Attempt, Unit
from scheduler.services import advancing, delivering
from scheduler.services.advancing import advance_task, cancel_task, tasks_to_advance
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import expire_leases, sweep
from scheduler.services.placing import run_round
from scheduler.stores import store_bytes
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end, sha_of
from tests.scheduler.meanwhile import Running, stopped_after, until_somebody_waits

pytestmark = pytest.mark.django_db
in_transactions = pytest.mark.django_db(transaction=True)
FRAMES = [{"path": "frame.png"}]
MERGE = {"run": ["merge"], "outputs": [{"path": "film.mp4"}]}
PICTURE = {"path": "frame.png", "sha256": sha_of(b"a picture"), "bytes": 9, "media_type": "image/png"}
FILM = {"path": "film.mp4", "sha256": sha_of(b"a film"), "bytes": 6, "media_type": "video/mp4"}


def on_its_way(
    units: int = 2, *, want: int | None = None, agent: FakeAgent | None = None, **fields: Any
) -> tuple[Task, FakeAgent]:
    """A task of which an agent holds units."""
    agent = agent or FakeAgent.of(a_pool())
    task = a_task(inputs={"count": units}, **fields)
    run_round()
    agent.beat(want=units if want is None else want)
    return task, agent


def a_film(units: int = 2) -> tuple[Task, FakeAgent]:
    """A task with a merge, all its frames in the making."""
    store_bytes(b"a picture")
    store_bytes(b"a film")
    return on_its_way(units, version=a_version(outputs=FRAMES, merge=MERGE))


def fresh(task: Task) -> Task:
    return Task.objects.get(pk=task.pk)


def kinds(task: Task) -> list[str]:
    return [event.kind for event in task.events.order_by("seq")]


def test_a_task_on_its_way_has_no_next_step() -> None:
    task, agent = on_its_way(2)
    assert advance_task(task.pk) == "running"
    first = min(agent.held)
    agent.report({"attempt": first, "fence": 1, "outcome": "done"})
    assert advance_task(task.pk) == "running"
    assert task.pk not in tasks_to_advance(timezone.now())


def test_an_ended_or_unknown_task_has_no_next_step_either() -> None:
    task, agent = on_its_way(1)
    agent.done()
    assert advance_task(task.pk) == "delivered"
    assert advance_task(task.pk) is None
    assert advance_task("00000000-0000-7000-8000-000000000000") is None


def test_the_merge_waits_for_all_units_and_starts_once() -> None:
    task, agent = a_film(2)
    merge = Unit.objects.get(task=task, stage=1)
    assert merge.state == "blocked"
    one, two = sorted(agent.held)
    agent.report({"attempt": one, "fence": 1, "outcome": "done", "outputs": [PICTURE]})
    advance_task(task.pk)
    merge.refresh_from_db()
    assert merge.state == "blocked"
    agent.report({"attempt": two, "fence": 1, "outcome": "done", "outputs": [PICTURE]})
    for _ in range(3):
        assert advance_task(task.pk) == "running"
    merge.refresh_from_db()
    assert merge.state == "waiting"
    assert kinds(task).count("task.merging") == 1


def test_the_merge_finds_every_units_files_and_their_index() -> None:
    task, agent = a_film(2)
    agent.done(outputs=[PICTURE])
    advance_task(task.pk)
    run_round()
    document = agent.beat(want=5).document()

    ((attempt, fence, spec, index, params, files),) = document["leases"]
    assert (spec, index, params) == (f"{task.pk}:1", 0, {})
    assert [f["path"] for f in files] == [
        "in/units.json", "in/units/000000/frame.png", "in/units/000001/frame.png",
    ]  # fmt: skip
    listed = orjson.loads(storage.read_bytes(files[0]["sha256"], 10_000))
    assert listed == [{"index": i, "params": {"value": i}, "files": ["frame.png"]} for i in range(2)]
    agent.report({"attempt": attempt, "fence": fence, "outcome": "done", "outputs": [FILM]})
    assert advance_task(task.pk) == "delivered"
    assert [f["path"] for f in delivering.result_files(fresh(task))] == ["film.mp4"]


def test_a_unit_that_failed_for_good_fails_its_task_and_cancels_what_does_not_run() -> None:
    task, agent = on_its_way(20, want=2)
    failing, running = sorted(agent.held)
    report = {"attempt": failing, "fence": 1, "outcome": "failed", "reason_class": "capability_error"}
    agent.report(report | {"code": "exit_nonzero", "detail": "no such scene"})

    assert advance_task(task.pk) == "running"  # one attempt still lives
    states = sorted(Unit.objects.values_list("state", flat=True))
    assert states == ["cancelled"] * 18 + ["failed", "leased"]
    assert fresh(task).reason == "unit 0: no such scene"
    assert agent.beat().stop == [[running, 1, "user_cancel"]]

    agent.report({"attempt": running, "fence": 1, "outcome": "cancelled"})
    assert advance_task(task.pk) == "failed"
    ended = fresh(task)
    assert (ended.reason_class, ended.ended_at is not None) == ("capability_error", True)
    assert kinds(task)[-1] == "task.failed"
    assert kinds(task).count("task.stopping") == 1


def test_a_failed_merge_fails_the_task_and_says_so() -> None:
    task, agent = a_film(1)
    agent.done(outputs=[PICTURE])
    advance_task(task.pk)
    run_round()
    agent.beat(want=1)
    agent.failed("limit_exceeded", code="time_limit")
    assert advance_task(task.pk) == "failed"
    assert (fresh(task).reason_class, fresh(task).reason) == ("limit_exceeded", "the merge: time_limit")


def test_the_reason_is_that_of_the_attempt_that_decided_not_of_one_that_was_forgiven() -> None:
    task, agent = on_its_way(1)
    agent.failed("node_fault", detail="the disk broke")
    Unit.objects.update(not_before=None)
    run_round()
    agent.beat(want=1)
    agent.failed("capability_error", detail="exit code 3")
    assert advance_task(task.pk) == "failed"
    assert (fresh(task).reason_class, fresh(task).reason) == ("capability_error", "unit 0: exit code 3")


def test_a_wish_to_cancel_waits_for_live_attempts() -> None:
    task, agent = on_its_way(20, want=2)
    assert cancel_task(task.pk).state == "running"
    assert sorted(Unit.objects.values_list("state", flat=True)) == ["cancelled"] * 18 + ["leased"] * 2
    assert advance_task(task.pk) == "running"
    agent.report(*({"attempt": a, "fence": f, "outcome": "cancelled"} for a, f in agent.held.items()))
    assert advance_task(task.pk) == "cancelled"
    assert kinds(task)[-3:] == ["task.stopping", "attempt.failed", "task.cancelled"]


def test_a_task_that_never_ran_is_cancelled_at_once_and_expands_no_further() -> None:
    a_pool()
    task = a_task(inputs={"count": 10})
    bare = a_task(inputs={"count": 10}, expanded=False)
    assert cancel_task(task.pk).state == cancel_task(bare.pk).state == "cancelled"
    assert expand_task(bare.pk) == 0
    assert run_round() == 0
    assert not Unit.objects.filter(task=bare).exists()


def test_cancelling_again_is_one_wish_and_after_the_end_a_conflict() -> None:
    task, agent = on_its_way(1)
    first = cancel_task(task.pk)
    assert cancel_task(task.pk).cancel_requested_at == first.cancel_requested_at
    assert kinds(task).count("task.cancel_requested") == 1
    agent.report(*({"attempt": a, "fence": f, "outcome": "cancelled"} for a, f in agent.held.items()))
    advance_task(task.pk)
    assert cancel_task(task.pk).state == "cancelled"
    done = run_to_end(a_task(), agent)
    with pytest.raises(Conflict) as caught:
        cancel_task(done.pk)
    assert (caught.value.code, caught.value.data) == ("task_has_ended", {"state": "delivered"})


def test_a_cancelled_task_whose_agent_vanished_ends_when_the_lease_runs_out() -> None:
    task, _ = on_its_way(2)
    cancel_task(task.pk)
    Agent.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    expire_leases()
    assert task.pk in sweep()["advance"]
    assert advance_task(task.pk) == "cancelled"
    assert set(Unit.objects.values_list("state", flat=True)) == {"cancelled"}


def test_units_that_were_done_when_the_wish_came_stay_done() -> None:
    task, agent = on_its_way(2)
    cancel_task(task.pk)
    agent.done()
    assert advance_task(task.pk) == "cancelled"
    assert (fresh(task).units_done, fresh(task).state) == (2, "cancelled")
    assert set(Attempt.objects.values_list("state", flat=True)) == {"valid"}


def test_a_deadline_that_passed_expires_the_task() -> None:
    task, agent = on_its_way(4, want=1, deadline=timezone.now() + timedelta(hours=1))
    assert task.pk not in tasks_to_advance(timezone.now())
    Task.objects.update(deadline=timezone.now() - timedelta(hours=1))
    assert tasks_to_advance(timezone.now()) == [task.pk]
    assert advance_task(task.pk) == "running"
    agent.report(*({"attempt": a, "fence": f, "outcome": "cancelled"} for a, f in agent.held.items()))
    assert advance_task(task.pk) == "expired"
    assert (fresh(task).reason_class, kinds(task)[-1]) == ("deadline", "task.expired")


def test_the_first_cause_of_a_bad_end_stands() -> None:
    task, agent = on_its_way(3, want=2)
    first, second = sorted(agent.held)
    agent.report({"attempt": first, "fence": 1, "outcome": "failed", "reason_class": "limit_exceeded"})
    advance_task(task.pk)
    Task.objects.update(deadline=timezone.now() - timedelta(hours=1))
    cancel_task(task.pk)
    agent.report({"attempt": second, "fence": 1, "outcome": "cancelled"})
    assert advance_task(task.pk) == "failed"
    assert fresh(task).reason_class == "limit_exceeded"


def test_the_sweep_asks_for_every_step_that_nobody_took() -> None:
    whole, agent = on_its_way(2)
    agent.done()
    failing, _ = on_its_way(2, agent=agent)
    agent.failed("limit_exceeded")
    on_its_way(1, agent=agent)
    wished = a_task()
    Task.objects.filter(pk=wished.pk).update(cancel_requested_at=timezone.now())
    assert set(sweep()["advance"]) == {whole.pk, failing.pk, wished.pk}
    for task_id in sweep()["advance"]:
        advance_task(task_id)
    assert sweep()["advance"] == []


@in_transactions
def test_two_workers_at_once_unblock_a_merge_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task, agent = a_film(2)
    agent.done(outputs=[PICTURE])
    with stopped_after(monkeypatch, advancing, "store_bytes", lambda: advance_task(task.pk)) as first:
        assert advance_task(task.pk) == "running"
    assert first.result == "running"
    assert kinds(task).count("task.merging") == 1
    assert Unit.objects.get(stage=1).state == "waiting"


@in_transactions
def test_a_merge_is_not_unblocked_in_a_task_that_was_cancelled_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    task, agent = a_film(2)
    agent.done(outputs=[PICTURE])
    with stopped_after(monkeypatch, advancing, "store_bytes", lambda: advance_task(task.pk)) as first:
        assert cancel_task(task.pk).state == "cancelled"
    assert first.result == "running"
    assert Unit.objects.get(stage=1).state == "cancelled"
    assert "task.merging" not in kinds(task)


@in_transactions
def test_who_cancels_while_the_result_is_delivered_hears_that_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    task, agent = on_its_way(2)
    agent.done()
    with stopped_after(monkeypatch, delivering, "add_events", lambda: advance_task(task.pk)) as delivery:
        cancelling = Running(lambda: cancel_task(task.pk)).start()
        until_somebody_waits()
    assert delivery.result == "delivered"
    with pytest.raises(Conflict) as caught:
        _ = cancelling.result
    assert caught.value.code == "task_has_ended"
    assert fresh(task).cancel_requested_at is None


@in_transactions
def test_a_result_is_not_delivered_to_who_cancelled_just_before(monkeypatch: pytest.MonkeyPatch) -> None:
    task, agent = on_its_way(2)
    agent.done()
    with stopped_after(monkeypatch, delivering, "store_bytes", lambda: advance_task(task.pk)) as delivery:
        assert cancel_task(task.pk).state == "cancelled"
    assert delivery.result == "cancelled"
    assert not hasattr(fresh(task), "result")
    assert kinds(task)[-1] == "task.cancelled"


@in_transactions
def test_two_workers_at_once_deliver_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task, agent = on_its_way(2)
    agent.done()
    with stopped_after(monkeypatch, delivering, "store_bytes", lambda: advance_task(task.pk)) as first:
        assert advance_task(task.pk) == "delivered"
    assert first.result == "delivered"
    assert kinds(task).count("task.delivered") == 1
