"""What an agent hears in a sync: its leases renewed, what it forgot, what to stop, and new work, each unit once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError
from django.utils import timezone

from core.errors import Conflict
from marketplace.models import Agent, Pool, Task
from marketplace.services.providers import move_pool
from scheduler.models import Attempt, Unit
from scheduler.services import leasing
from scheduler.services.advancing import cancel_task
from scheduler.services.expiring import expire_leases
from scheduler.services.leasing import Beat, Held, keep_in_touch, look_again
from scheduler.services.placing import run_round
from tests.builders import a_pool, an_agent
from tests.builders_tasks import FakeAgent, a_task
from tests.scheduler.meanwhile import Running, stopped_after, until_somebody_waits

pytestmark = pytest.mark.django_db
in_transactions = pytest.mark.django_db(transaction=True)


def an_agent_with_work(units: int = 8, **fields: Any) -> FakeAgent:
    """An agent on whose pool so many units are placed."""
    pool = a_pool(**fields)
    a_task(inputs={"count": units})
    run_round()
    assert Unit.objects.filter(state="placed").count() == units
    return FakeAgent.of(pool)


def leases() -> set[tuple[int, int]]:
    return set(Attempt.objects.values_list("id", "fence"))


def answered(rows: list[dict[str, Any]]) -> set[tuple[int, int]]:
    return {(row["attempt"], row["fence"]) for row in rows}


@pytest.mark.parametrize(("want", "got"), [(0, 0), (3, 3), (8, 8), (100, 8)])
def test_an_agent_gets_what_it_wants_and_no_more_than_there_is(want: int, got: int) -> None:
    agent = an_agent_with_work(8)
    assert len(agent.beat(want=want).leased) == got
    assert Unit.objects.filter(state="leased").count() == Attempt.objects.filter(state="leased").count() == got


def test_one_answer_hands_out_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "MAX_LEASES", 5)
    agent = an_agent_with_work(8)
    assert len(agent.beat(want=1_000_000).leased) == 5
    assert len(agent.beat(want=1_000_000).leased) == 3


def test_a_task_runs_from_its_first_lease_on_and_starts_once() -> None:
    agent = an_agent_with_work(4)
    agent.beat(want=2)
    task = Task.objects.get()
    assert (task.state, task.started_at is not None) == ("running", True)
    agent.beat(want=2)
    assert [e.kind for e in task.events.order_by("seq")] == ["task.submitted", "task.started"]


def test_every_sync_renews_everything_the_agent_holds() -> None:
    agent = an_agent_with_work(2)
    agent.beat(want=2)
    Agent.objects.update(lease_until=timezone.now() + timedelta(seconds=1), seen_at=None)
    agent.beat()
    row = Agent.objects.get()
    assert row.lease_until is not None
    assert row.lease_until > timezone.now() + timedelta(seconds=10)
    assert (row.session, row.seen_at is not None) == (agent.session, True)


def test_the_fence_grows_with_every_lease_of_a_unit() -> None:
    agent = an_agent_with_work(1)
    fences = []
    for _ in range(3):
        fences += [row["fence"] for row in agent.beat(want=1).leased]
        agent.failed("reclaimed")
        run_round()
    assert fences == [1, 2, 3]
    assert list(Attempt.objects.order_by("id").values_list("fence", flat=True)) == [1, 2, 3]
    assert Unit.objects.get().fence == 3


def test_phases_and_progress_are_shown_and_a_start_is_never_moved() -> None:
    agent = an_agent_with_work(1)
    agent.beat(want=1)
    (lease,) = agent.held.items()
    beat = Beat(agent.session, 0, [Held(*lease, "preparing", None)], [])
    keep_in_touch(agent.agent, beat)
    assert Attempt.objects.get().state == "leased"
    keep_in_touch(agent.agent, Beat(agent.session, 0, [Held(*lease, "running", 250_000)], []))
    first = Attempt.objects.get()
    assert (first.state, first.progress_ppm) == ("running", 250_000)
    keep_in_touch(agent.agent, Beat(agent.session, 0, [Held(*lease, "uploading", 900_000)], []))
    second = Attempt.objects.get()
    assert (second.started_at, second.progress_ppm) == (first.started_at, 900_000)


def test_a_lost_answer_is_given_again_with_the_same_attempts_and_fences() -> None:
    agent = an_agent_with_work(8)
    lost = answered(agent.beat(want=5).leased)
    agent.held.clear()

    again = agent.beat(want=5)

    assert answered(again.leased) == lost == leases()
    assert {row["index"] for row in again.leased} == {0, 1, 2, 3, 4}
    assert not again.stop


def test_what_was_lost_counts_for_what_is_wanted() -> None:
    agent = an_agent_with_work(8)
    agent.beat(want=5)
    agent.held.clear()
    assert len(agent.beat(want=7).leased) == 7
    assert Attempt.objects.count() == 7


def test_an_agent_that_restarted_loses_what_it_does_not_name_and_the_units_wait_again() -> None:
    agent = an_agent_with_work(3)
    agent.beat(want=3)
    kept = min(agent.held)
    restarted = FakeAgent(agent.agent, held={kept: agent.held[kept]})

    answer = restarted.beat()

    assert not answer.leased
    assert not answer.stop
    assert Attempt.objects.get(pk=kept).state == "leased"
    lost = Attempt.objects.exclude(pk=kept)
    assert {(a.state, a.reason_class, a.code) for a in lost} == {("lost", "node_fault", "agent_restarted")}
    units = Unit.objects.filter(state="waiting")
    assert [(u.pool_id, u.tries, u.avoid, u.fence) for u in units] == [(None, 0, [agent.agent.pool_id], 1)] * 2


@pytest.mark.parametrize("state", ["draining", "suspended", "enrolled"])
def test_a_pool_that_is_not_active_gets_nothing_even_where_its_row_was_read_before(state: str) -> None:
    agent = an_agent_with_work(4)
    as_it_was = Agent.objects.select_related("pool").get()
    Pool.objects.update(state=state)

    assert not agent.beat(want=4).leased
    assert not keep_in_touch(as_it_was, Beat(agent.session, 4, [], [])).leased
    assert not look_again(as_it_was, Beat(agent.session, 4, [], [])).leased
    assert Unit.objects.filter(state="placed").count() == 4


def test_a_draining_pool_is_told_so_and_finishes_what_it_has() -> None:
    agent = an_agent_with_work(4)
    agent.beat(want=2)
    move_pool(Pool.objects.get(), "drain")
    answer = agent.beat(want=2)
    assert (answer.drain, answer.leased, answer.stop) == (True, [], [])
    assert len(agent.done().refused) == 0


def test_an_agent_that_drains_already_waits_in_its_poll_instead_of_asking_for_ever() -> None:
    agent = an_agent_with_work(4)
    move_pool(Pool.objects.get(), "drain")
    assert not agent.beat().silent
    known = keep_in_touch(agent.agent, Beat(agent.session, 0, [], [], draining=True))
    again = look_again(agent.agent, Beat(agent.session, 0, [], [], draining=True))
    assert (known.drain, known.silent, again.drain, again.silent) == (True, True, True, True)


def test_an_agent_that_leaves_gets_nothing_though_its_pool_is_active() -> None:
    agent = an_agent_with_work(4)
    assert not keep_in_touch(agent.agent, Beat(agent.session, 4, [], [], draining=True)).leased


def test_an_agent_that_was_replaced_hears_so() -> None:
    agent = an_agent_with_work(1)
    Agent.objects.update(retired_at=timezone.now())
    with pytest.raises(Conflict) as caught:
        agent.beat(want=1)
    assert caught.value.code == "agent_retired"
    assert not Attempt.objects.exists()


def test_what_is_named_but_not_leased_is_to_be_stopped() -> None:
    agent, other = an_agent_with_work(2), FakeAgent.of(a_pool())
    agent.beat(want=2)
    first, second = sorted(agent.held)
    agent.report({"attempt": first, "fence": 1, "outcome": "failed", "reason_class": "reclaimed"})

    named = {first: 1, second: 1, 999_999: 1}
    assert sorted(agent.beat(held=named).stop) == [[first, 1, "stale_lease"], [999_999, 1, "stale_lease"]]
    assert sorted(other.beat(held=named).stop) == [[n, 1, "stale_lease"] for n in sorted(named)]
    assert [second, 7, "stale_lease"] in agent.beat(held={second: 7}).stop
    assert Attempt.objects.get(pk=second).state == "leased"


def test_attempts_of_a_task_that_stops_are_told_so_until_they_report() -> None:
    agent = an_agent_with_work(4)
    agent.beat(want=2)
    cancel_task(Task.objects.get().pk)
    expected = sorted([attempt, 1, "user_cancel"] for attempt in agent.held)
    for _ in range(2):
        answer = agent.beat(want=4)
        assert sorted(answer.stop) == expected
        assert not answer.leased
    agent.report(*({"attempt": a, "fence": f, "outcome": "cancelled"} for a, f in agent.held.items()))
    assert not agent.beat(want=4).stop


def test_what_an_agent_can_run_is_what_its_last_sync_said() -> None:
    agent = an_agent_with_work(1)
    keep_in_touch(agent.agent, Beat(agent.session, 0, [], ["process"]))
    assert Pool.objects.get().executors == ["process"]
    keep_in_touch(agent.agent, Beat(agent.session, 0, [], []))
    assert Pool.objects.get().executors == ["process"]


def test_the_second_look_finds_work_that_came_meanwhile_and_renews_nothing() -> None:
    agent = an_agent_with_work(1)
    agent.beat()
    before = Agent.objects.get().lease_until
    beat = Beat(agent.session, 4, [], [])
    assert len(look_again(agent.agent, beat).leased) == 1
    assert Agent.objects.get().lease_until == before
    assert look_again(agent.agent, beat).silent


def test_a_poll_that_its_agent_has_left_behind_takes_no_work() -> None:
    agent = an_agent_with_work(4)
    agent.beat()
    left_behind = Beat(agent.session, 4, [], [])
    FakeAgent(agent.agent).beat()  # a new process
    assert look_again(agent.agent, left_behind).silent
    Agent.objects.update(session=agent.session, retired_at=timezone.now())
    assert look_again(agent.agent, left_behind).silent
    assert not Attempt.objects.exists()


def test_the_answer_carries_one_spec_for_all_units_of_a_task() -> None:
    agent = an_agent_with_work(3)
    document = agent.beat(want=3).document()
    task = Task.objects.get()
    assert set(document["specs"]) == {f"{task.pk}:0"}
    assert [(spec, index) for _, _, spec, index, _, _ in document["leases"]] == [(f"{task.pk}:0", i) for i in range(3)]
    assert document["specs"][f"{task.pk}:0"]["run"] == ["true"]


def test_an_agent_of_another_pool_gets_nothing_of_it() -> None:
    agent = an_agent_with_work(4)
    other = FakeAgent.of(a_pool())
    assert not other.beat(want=4).leased
    assert len(agent.beat(want=4).leased) == 4


def synced(agent: FakeAgent, want: int) -> Any:
    """One sync in a process's own words: it holds nothing yet."""
    return keep_in_touch(Agent.objects.select_related("pool").get(pk=agent.agent.pk), Beat(agent.session, want, [], []))


@in_transactions
def test_two_syncs_of_one_agent_at_once_share_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent_with_work(8)
    with stopped_after(monkeypatch, leasing, "lease_units", lambda: synced(agent, 4)) as first:
        second = Running(lambda: synced(agent, 4)).start()
        until_somebody_waits()
    assert answered(first.result.leased) == answered(second.result.leased) == leases()
    assert len(leases()) == 4


@in_transactions
def test_control_without_the_agents_lock_the_second_sync_takes_as_much_again(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent_with_work(8)
    monkeypatch.setattr(leasing, "_renew", lambda *_: None)
    with stopped_after(monkeypatch, leasing, "lease_units", lambda: synced(agent, 4)) as first:
        second = Running(lambda: synced(agent, 4)).start()
        until_somebody_waits()  # for the task, which both start
    assert not answered(first.result.leased) & answered(second.result.leased)
    assert len(leases()) == 8


@in_transactions
def test_two_polls_that_wake_at_once_do_not_lease_a_unit_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent_with_work(8)
    agent.beat()
    beat = Beat(agent.session, 6, [], [])
    with stopped_after(monkeypatch, leasing, "lease_units", lambda: look_again(agent.agent, beat)) as first:
        second = Running(lambda: look_again(agent.agent, beat)).start()
        until_somebody_waits()  # for the task, which both start, and for no unit
    assert len(first.result.leased) == 6
    assert len(second.result.leased) == 2
    assert set(Unit.objects.values_list("fence", flat=True)) == {1}


@in_transactions
def test_control_without_the_guard_only_postgresql_stops_a_second_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent_with_work(8)
    agent.beat()
    beat = Beat(agent.session, 8, [], [])
    unguarded = leasing._LEASE.replace("FOR UPDATE SKIP LOCKED", "").replace("AND u.state = 'placed'", "")
    monkeypatch.setattr(leasing, "_LEASE", unguarded)
    with stopped_after(monkeypatch, leasing, "lease_units", lambda: look_again(agent.agent, beat)) as first:
        second = Running(lambda: look_again(agent.agent, beat)).start()
        until_somebody_waits()
    assert len(first.result.leased) == 8
    with pytest.raises(IntegrityError, match="attempt_one_live_per_unit"):
        _ = second.result


@in_transactions
def test_cancelling_does_not_wait_for_a_lease_in_progress_and_its_units_are_stopped_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = an_agent_with_work(8)
    task = Task.objects.get()
    with stopped_after(monkeypatch, leasing, "lease_units", lambda: agent.beat(want=4)) as first:
        cancelling = Running(lambda: cancel_task(task.pk)).start()
        until_somebody_waits()  # for the row of the task that the lease has just started, not for its units
    assert len(first.result.leased) == 4
    assert cancelling.result.state == "running"
    assert Unit.objects.filter(state="cancelled").count() == 4
    assert len(agent.beat().stop) == 4


@in_transactions
def test_a_lease_and_a_cancellation_that_cross_do_not_lock_each_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent_with_work(8)
    task = Task.objects.get()
    real = leasing.dicts

    def cancelled_while_units_are_held(sql: str, params: Any = ()) -> Any:
        found = real(sql, params)
        if sql == leasing._LEASE:
            crossing.append(Running(lambda: cancel_task(task.pk)).start())
            crossing[0].thread.join(2)  # it comes to its end while the units are held: it waits for none of them
            assert not crossing[0].thread.is_alive()
        return found

    crossing: list[Running] = []
    monkeypatch.setattr(leasing, "dicts", cancelled_while_units_are_held)
    assert len(agent.beat(want=4).leased) == 4
    assert crossing[0].result.state == "queued"
    task.refresh_from_db()
    assert task.state == "running"
    assert len(agent.beat().stop) == 4


@in_transactions
def test_a_sweep_and_a_sync_end_a_forgotten_attempt_once(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = an_agent_with_work(4)
    agent.beat(want=4)
    Agent.objects.update(lease_until=timezone.now() - timedelta(hours=1))
    restarted = FakeAgent(agent.agent)
    with stopped_after(monkeypatch, leasing, "_reconcile", restarted.beat):
        assert expire_leases()["lost"] == 0
    assert {a.code for a in Attempt.objects.all()} == {"agent_restarted"}
    assert not Attempt.objects.exclude(state="lost").exists()


def test_a_new_machine_takes_over_what_is_placed_and_the_old_ones_attempts_are_lost() -> None:
    old = an_agent_with_work(4)
    old.beat(want=2)
    Agent.objects.update(retired_at=timezone.now())
    an_agent(Pool.objects.get(), name="the new one")
    new = FakeAgent.of(Pool.objects.get())
    assert len(new.beat(want=4).leased) == 2
    assert expire_leases()["lost"] == 2
    assert Attempt.objects.filter(agent=old.agent, state="lost").count() == 2
