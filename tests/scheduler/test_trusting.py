"""Whom to believe: spot checks for who has earned them, quota and quarantine for who was wrong, and the way back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.models import Agent, Pool, Task
from scheduler.models import Attempt, Trust, Unit
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from scheduler.services.trusting import Lessons, draw_consequences, learn, lift_quarantine, trust_of
from scheduler.verification.trust import FULL_QUOTA
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version
from tests.builders_trust import RIGHT, WRONG, a_checked_version, agents_of, an_owner, output_of, owners_pools, take_turns

pytestmark = pytest.mark.django_db


def trusted(pool: Pool, version: Any, streak: int) -> None:
    Trust.objects.create(
        pool=pool, capability_version=version, streak=streak, valid=streak, samples=streak, updated_at=timezone.now()
    )


def test_a_newcomers_units_are_all_checked_and_those_of_the_trusted_now_and_then() -> None:
    pools, version = owners_pools("bob", "erin"), a_checked_version()
    for pool in pools.values():
        trusted(pool, version, 10)
    agents = agents_of(pools)
    task = take_turns(a_task(version=version, inputs={"count": 200}), agents)
    assert task.state == "delivered"
    checked = Unit.objects.filter(replica=1).count()
    assert 1 <= checked < 60, "one in ten at first, fewer as the streaks grow"
    newcomers = a_checked_version()
    task = take_turns(a_task(version=newcomers, inputs={"count": 5}), agents)
    assert Unit.objects.filter(task=task, replica=1).count() == 5


def test_which_units_are_checked_cannot_be_seen_by_the_agent() -> None:
    pools, version = owners_pools("bob", "erin"), a_checked_version()
    trusted(pools["bob"], version, 10**9)
    a_task(version=version, inputs={"count": 60})
    run_round()
    documents = [FakeAgent.of(pool).beat(want=60).document() for pool in pools.values()]
    assert {True, False} == set(Attempt.objects.values_list("checked", flat=True))
    for document in documents:
        assert {len(lease) for lease in document["leases"]} <= {6}
        assert "checked" not in str(document)
        assert "replica" not in str(document)


def test_a_wrong_or_lost_result_ends_a_streak() -> None:
    pool, version = a_pool(), a_version()
    for field in ("invalid", "lost"):
        Trust.objects.all().delete()
        trusted(pool, version, 40)
        lessons = Lessons()
        setattr(lessons.of(pool.pk, version.pk), field, 1)
        learn(lessons)
        assert Trust.objects.values_list("streak", "samples").get() == (0, 41)


def test_a_unit_that_its_trusted_pool_lost_is_drawn_anew_for_the_next() -> None:
    pools, version = owners_pools("bob", "erin"), a_checked_version()
    for pool in pools.values():
        trusted(pool, version, 10**6)
    a_task(version=version, inputs={"count": 20})
    run_round()
    lost = 0
    for agent in agents_of(pools).values():
        lost += len(agent.beat(want=20).leased)
        agent.failed("node_fault")
    assert lost == 20
    assert set(Trust.objects.values_list("streak", flat=True)) <= {0, 10**6}
    assert not Unit.objects.filter(checked=False).exists()


def wrong(pool: Pool, times: int) -> list[int]:
    """The pool's results lose so many votes, one after the other."""
    caught: list[int] = []
    agent = Agent.objects.filter(pool=pool).first()
    for _ in range(times):
        task = a_task(version=a_checked_version("none"))
        unit = Unit.objects.get(task=task)
        Unit.objects.filter(pk=unit.pk).update(state="cancelled")
        Attempt.objects.create(
            unit=unit, task=task, pool=pool, agent=agent, need=unit.need, session=agent.pk, fence=1, state="invalid",
            code="outvoted", leased_at=timezone.now(), ended_at=timezone.now(),
        )  # fmt: skip
        caught += draw_consequences({}, {pool.pk: 1})
    return caught


def test_each_wrong_result_halves_a_pools_quota_and_the_third_within_a_day_quarantines_it() -> None:
    pool, other = a_pool(), a_pool(an_owner("erin"))
    assert wrong(pool, 2) == []
    pool.refresh_from_db()
    assert (pool.daily_quota, pool.quarantined_until) == (FULL_QUOTA // 4, None)
    assert wrong(pool, 1) == [pool.pk]
    pool.refresh_from_db()
    assert pool.quarantined_until is not None
    assert timedelta(minutes=59) < pool.quarantined_until - timezone.now() <= timedelta(hours=1)
    assert pool.quarantine_reason == "3 wrong results within a day"
    other.refresh_from_db()
    assert (other.daily_quota, other.quarantined_until) == (None, None)


def test_wrong_results_of_another_day_do_not_count() -> None:
    pool = a_pool()
    wrong(pool, 2)
    Attempt.objects.update(ended_at=timezone.now() - timedelta(hours=25))
    assert wrong(pool, 1) == []


def test_a_pool_in_quarantine_gets_no_work_and_keeps_none_that_it_has_not_begun() -> None:
    pool = a_pool()
    wrong(pool, 2)
    Pool.objects.update(daily_quota=None)
    task = a_task(inputs={"count": 4})
    run_round()
    assert set(Unit.objects.filter(task=task).values_list("state", flat=True)) == {"placed"}
    other = a_pool(an_owner("erin"))
    Attempt.objects.filter(state="invalid").update(ended_at=timezone.now())
    draw_wrong_again(pool)
    assert set(Unit.objects.filter(task=task).values_list("state", flat=True)) == {"waiting"}
    run_round()
    assert set(Unit.objects.filter(task=task).values_list("pool", flat=True)) == {other.pk}
    assert FakeAgent.of(pool).beat(want=10).leased == []


def draw_wrong_again(pool: Pool) -> None:
    assert wrong(pool, 1) == [pool.pk]


def on_probation(pool: Pool) -> None:
    Pool.objects.filter(pk=pool.pk).update(quarantined_until=timezone.now() - timedelta(seconds=1), quarantines=1)


def test_a_pool_comes_back_half_open_with_one_checked_unit_at_a_time() -> None:
    pools = owners_pools("bob", "erin")
    on_probation(pools["bob"])
    agents = agents_of(pools)
    unchecked = a_task(inputs={"count": 3})
    run_round()
    assert set(Unit.objects.filter(task=unchecked).values_list("pool", flat=True)) == {pools["erin"].pk}

    version = a_checked_version()
    trusted(pools["bob"], version, 10**6)
    a_task(version=version, inputs={"count": 6}, constraints={"providers": ["bobs-pools", "erins-pools"]})
    Unit.objects.filter(task__capability_version=version).update(avoid=[pools["erin"].pk])
    run_round()
    assert len(agents["bob"].beat(want=10).leased) == 1
    assert Attempt.objects.get(pool=pools["bob"]).checked, "whatever its record, it is checked"
    assert agents["bob"].beat(want=10).leased == []
    agents["bob"].done(outputs=[output_of(RIGHT)])
    assert agents["bob"].beat(want=10).leased == [], "its verdict comes first"


def test_a_right_result_ends_the_quarantine_and_a_wrong_one_doubles_the_next() -> None:
    for says, back in ((RIGHT, True), (WRONG, False)):
        pools = owners_pools("bob", "erin", "dave")
        on_probation(pools["bob"])
        task = a_task(version=a_checked_version({"quorum": {"of": 3, "need": 2}}))
        agents = agents_of(pools)
        for _ in range(4):
            run_round()
            for agent in agents.values():
                agent.beat(want=1)
            judge_units()
        task = take_turns(task, agents, {"bob": says})
        assert task.state == "delivered"
        pool = Pool.objects.get(pk=pools["bob"].pk)
        assert (pool.quarantined_until is None) == back, pool.quarantine_reason
        if not back:
            assert pool.quarantines == 2
            assert pool.quarantined_until is not None
            assert pool.quarantined_until - timezone.now() > timedelta(minutes=119)
        Pool.objects.update(state="retired")


def test_an_operator_lifts_a_quarantine() -> None:
    pool = a_pool()
    wrong(pool, 3)
    pool.refresh_from_db()
    assert lift_quarantine(pool)
    pool.refresh_from_db()
    assert (pool.quarantined_until, pool.daily_quota) == (None, None)
    assert not lift_quarantine(pool)
    a_task()
    run_round()
    assert len(FakeAgent.of(pool).beat(want=1).leased) == 1


def test_a_quota_bounds_what_a_pool_gets_in_a_day() -> None:
    pool = a_pool()
    Pool.objects.update(daily_quota=3)
    a_task(inputs={"count": 10})
    run_round()
    agent = FakeAgent.of(pool)
    assert [len(agent.beat(want=2).leased) for _ in range(3)] == [2, 1, 0]
    Pool.objects.update(quota_day=timezone.now().date() - timedelta(days=1))
    assert len(agent.beat(want=10).leased) == 3


def test_right_results_win_a_quota_back_until_there_is_no_limit() -> None:
    pool = a_pool()
    Pool.objects.update(daily_quota=FULL_QUOTA - 3)
    draw_consequences({pool.pk: 2}, {})
    pool.refresh_from_db()
    assert pool.daily_quota == FULL_QUOTA - 1
    draw_consequences({pool.pk: 1}, {})
    pool.refresh_from_db()
    assert pool.daily_quota is None


def test_the_planner_reads_the_trust_of_all_pairs_in_one_statement() -> None:
    pools, versions = [a_pool() for _ in range(3)], [a_version() for _ in range(2)]
    trusted(pools[0], versions[0], 27)
    with CaptureQueriesContext(connection) as seen:
        found = trust_of([version.pk for version in versions])
    assert len(seen) == 1
    assert found == {(pools[0].pk, versions[0].pk): pytest.approx(29 / 30, abs=1e-4)}  # all others are newcomers


def test_what_a_pool_runs_unchecked_when_it_is_caught_is_checked_after_all() -> None:
    pools, version = owners_pools("bob", "erin"), a_checked_version()
    for pool in pools.values():
        trusted(pool, version, 10**9)
    a_task(version=version, inputs={"count": 40})
    run_round()
    agents = agents_of(pools)
    for agent in agents.values():
        agent.beat(want=40)
    held = Attempt.objects.filter(pool=pools["bob"], state="leased", task=Task.objects.latest("created_at"))
    assert held.filter(checked=False).exists()
    held = Attempt.objects.filter(pk__in=list(held.values_list("pk", flat=True)))
    assert wrong(pools["bob"], 3) == [pools["bob"].pk]
    assert not held.filter(checked=False).exists()
