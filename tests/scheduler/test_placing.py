"""A round places units once, promises no capacity twice, and can be replayed from what it stored."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.utils import timezone

from marketplace.models import Offer, Pool
from scheduler.hub import connection_parameters
from scheduler.models import Decision, Pace, Round, Unit
from scheduler.scene import scene
from scheduler.services import placing
from scheduler.services.advancing import cancel_task
from scheduler.services.placing import forget_old_rounds, replay_round, run_round
from tests.builders import a_pool, an_agent
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.scheduler.meanwhile import Running, stopped_after, until_somebody_waits

ROOM = 16  # units that eight cores are given at most: those that run and one wave more


def placed() -> int:
    return Unit.objects.filter(state="placed").count()


def a_crowd(count: int = 100, **fields: Any) -> Any:
    """A task of units that take ten seconds each, as the manifest says."""
    version = a_version(demand={"tflop": "0.125"})  # the pool does 0.0125 TFLOPS a core
    return a_task(version=version, inputs={"count": count}, **fields)


@pytest.mark.django_db
def test_units_are_placed_with_their_offer_and_decision_and_the_round_is_kept() -> None:
    pool = a_pool()
    a_crowd()

    assert run_round() == placed() == ROOM

    (unit, *_) = Unit.objects.filter(state="placed").select_related("decision__round")
    assert (unit.pool_id, unit.offer_id) == (pool.pk, pool.offers.get().pk)
    assert unit.decision is not None
    assert unit.decision.placed == [[pool.pk, ROOM]]
    assert (unit.decision.round.waiting, unit.decision.round.placed) == (100, ROOM)


@pytest.mark.django_db
def test_a_round_without_work_or_without_room_leaves_no_trace() -> None:
    a_pool()
    assert run_round() == 0
    a_crowd()
    run_round()
    assert run_round() == 0
    assert Round.objects.count() == 1


@pytest.mark.django_db
def test_the_oldest_units_are_placed_first() -> None:
    a_pool()
    task = a_crowd()
    a_crowd()
    run_round()
    assert set(Unit.objects.filter(state="placed").values_list("task", "index")) == {(task.pk, i) for i in range(ROOM)}


@pytest.mark.django_db
def test_a_unit_that_was_cancelled_meanwhile_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool()
    a_crowd()
    real = placing.plan

    def plan_slowly(snapshot: Any, **limits: Any) -> Any:
        Unit.objects.filter(index=3).update(state="cancelled")
        return real(snapshot, **limits)

    monkeypatch.setattr(placing, "plan", plan_slowly)
    assert run_round() == ROOM
    assert Unit.objects.get(index=3).state == "cancelled"
    assert Unit.objects.get(index=3).pool_id is None


@pytest.mark.django_db
def test_a_unit_waits_out_its_pause_before_it_is_placed_again() -> None:
    a_pool()
    task = a_crowd(1)
    unit = Unit.objects.filter(task=task)
    unit.update(not_before=timezone.now() + timedelta(seconds=60))
    assert run_round() == 0
    unit.update(not_before=timezone.now() - timedelta(hours=1))
    assert run_round() == 1


@pytest.mark.django_db
def test_units_that_a_pool_failed_go_elsewhere_and_the_others_need_not() -> None:
    cheap, dear = a_pool(rates={"core_second": "0.00001"}), a_pool(rates={"core_second": "0.1"})
    a_crowd(4)
    Unit.objects.filter(index__in=[0, 1]).update(avoid=[cheap.pk])

    run_round()

    where = dict(Unit.objects.values_list("index", "pool"))
    assert where == {0: dear.pk, 1: dear.pk, 2: cheap.pk, 3: cheap.pk}


@pytest.mark.django_db
def test_pools_that_do_not_take_work_get_none() -> None:
    for state in ("registered", "enrolled", "verified", "draining", "suspended", "retired"):
        a_pool(state=state)
    away = a_pool()
    away.agents.update(lease_until=timezone.now() - timedelta(hours=1))
    left = a_pool(agent=False)
    an_agent(left, retired_at=timezone.now())
    a_pool(deny_organizations=["acme"])
    fit = a_pool()
    a_crowd(1000)

    run_round()

    assert set(Unit.objects.filter(state="placed").values_list("pool", flat=True)) == {fit.pk}


@pytest.mark.django_db(transaction=True)
def test_the_pools_that_got_work_are_told_when_the_round_commits() -> None:
    pool, _ = a_pool(), a_pool(region="gansu")
    a_crowd(4, constraints={"regions": ["ningxia"]})
    with psycopg.connect(**connection_parameters(), autocommit=True) as link:
        link.execute("LISTEN gridfare_pool")
        run_round()
        heard = [notice.payload for notice in link.notifies(timeout=2, stop_after=1)]
    assert heard == [str(pool.pk)]


@pytest.mark.django_db(transaction=True)
def test_while_a_round_decides_another_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool()
    a_crowd()
    with stopped_after(monkeypatch, placing, "plan", run_round) as first:
        assert run_round() is None
    assert first.result == placed() == ROOM


@pytest.mark.django_db(transaction=True)
def test_control_without_its_lock_two_rounds_promise_the_same_room(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool()
    a_crowd()
    monkeypatch.setattr(placing, "scalar", lambda *_: True)
    with stopped_after(monkeypatch, placing, "plan", run_round) as first:
        second = run_round()
    assert first.result + second == placed() == 2 * ROOM


@pytest.mark.django_db(transaction=True)
def test_even_without_the_lock_no_unit_is_placed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool()
    a_crowd(ROOM)
    placing._keep_scene(scene())  # a row that both rounds would write
    monkeypatch.setattr(placing, "scalar", lambda *_: True)
    with stopped_after(monkeypatch, placing, "notify_pool", run_round) as first:
        assert run_round() == 0
    assert first.result == placed() == ROOM
    assert Unit.objects.values("decision").distinct().count() == 1


@pytest.mark.django_db(transaction=True)
def test_control_without_the_guard_the_second_round_takes_what_the_first_has_placed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_pool()
    a_crowd(ROOM)
    placing._keep_scene(scene())
    unguarded = placing._COMMIT.replace("FOR UPDATE SKIP LOCKED", "").replace(
        "WHERE u.id = picked.id AND u.state = 'waiting'", "WHERE u.id = picked.id"
    )
    assert unguarded.count("'waiting'") == 1
    monkeypatch.setattr(placing, "_COMMIT", unguarded)
    monkeypatch.setattr(placing, "scalar", lambda *_: True)
    with stopped_after(monkeypatch, placing, "notify_pool", run_round) as first:
        second = Running(run_round).start()
        until_somebody_waits()
    assert first.result + second.result == 2 * placed()


@pytest.mark.django_db(transaction=True)
def test_a_task_cancelled_while_a_round_commits_is_not_placed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    a_pool()
    task = a_crowd(40)
    with stopped_after(monkeypatch, placing, "notify_pool", run_round) as first:
        assert cancel_task(task.pk).state == "queued"  # what the round holds is left to the next look
    assert first.result == placed() == ROOM
    assert cancel_task(task.pk).state == "cancelled"
    assert not Unit.objects.exclude(state="cancelled").exists()


@pytest.mark.django_db
def test_a_stored_round_replays_to_the_same_decisions_whatever_became_of_the_market() -> None:
    gpu = [{"model": "a100", "count": 2, "memory_mib": 40_000}]
    pools = [
        a_pool(accelerators=gpu, rates={"core_second": "0.000000123456"}),
        a_pool(region="gansu", allow_organizations=["acme"], rates={"result": "0.1"}, basis="result"),
        a_pool(deny_organizations=["acme"]),
        a_pool(instruction_set="aarch64"),
    ]
    run_to_end(a_task(inputs={"count": 30}, version=a_version()), FakeAgent.of(pools[0]), rounds=2)
    assert Pace.objects.exists()
    a_task(inputs={"count": 500}, objective="fastest", constraints={"max_price": "1000"})
    a_task(inputs={"count": 500}, constraints={"regions": ["ningxia"]})
    Unit.objects.filter(state="waiting", index__lt=50).update(avoid=[pools[1].pk, pools[0].pk])
    run_round()
    Pool.objects.update(cores=1, state="suspended")
    Offer.objects.filter(used=False).update(currency="EUR")
    Pace.objects.all().delete()

    assert Round.objects.exists()
    for this in Round.objects.all():
        stored = Decision.objects.filter(round=this).order_by("id")
        replayed = replay_round(this)
        assert [
            (one.need_id, [[p.pool_id, p.units] for p in one.placements], list(one.candidates), one.excluded)
            for one in replayed
        ] == [(d.need_id, d.placed, d.candidates, d.excluded) for d in stored]


@pytest.mark.django_db
def test_old_rounds_are_forgotten_unless_their_units_are_still_on_their_way() -> None:
    agent = FakeAgent.of(a_pool())
    for _ in range(3):
        run_to_end(a_task(), agent)
    a_task()
    run_round()  # its unit is placed, nothing has become of it yet
    open_round = Round.objects.order_by("-id")[0].pk
    agent.beat(want=1)
    for _ in range(2):
        run_to_end(a_task(), FakeAgent.of(a_pool()))
    newest = list(Round.objects.order_by("-id").values_list("id", flat=True)[:1])

    gone = forget_old_rounds(keep=1)

    assert set(Round.objects.values_list("id", flat=True)) == {open_round, *newest}
    assert gone == 4
    assert forget_old_rounds() == 0
