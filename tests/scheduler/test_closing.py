"""When a pool takes no work: before and in its maintenance, and when its owner wants it back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, DomainError, Invalid, NotFound
from marketplace.models import MaintenanceWindow, Pool
from marketplace.services.availability import (
    Window,
    agent_reclaims,
    cached_of,
    give_back_pool,
    keep_status,
    plan_window,
    reclaim_pool,
    take_back_window,
)
from marketplace.services.providers import move_pool
from scheduler.closing import CLOSED_NOW, Closing, closing_of
from scheduler.closings import closings_of
from scheduler.models import Attempt, Unit
from scheduler.services.expiring import expire_leases
from scheduler.services.leasing import Beat, keep_in_touch
from scheduler.services.placing import run_round
from scheduler.sql import rows
from tests.builders import a_pool, a_window, an_agent
from tests.builders_tasks import FakeAgent, a_task, a_version

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NOTICE = 300.0


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def closing(**fields: Any) -> Closing:
    return closing_of(NOW, notice_s=NOTICE, **fields)


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([], Closing()),
        ([(at(-20), at(-10))], Closing()),
        ([(at(1000), at(2000))], Closing(1000.0)),
        ([(at(5000), at(6000)), (at(1000), at(2000))], Closing(1000.0)),
        ([(at(300), at(2000))], Closing(0.0, 300.0)),
        ([(at(-5), at(5))], Closing(0.0, 0.0)),
        ([(at(-5), at(0))], Closing()),
    ],
)
def test_a_window_closes_a_pool_for_what_would_outlast_its_start(windows: Any, expected: Closing) -> None:
    assert closing(windows=windows) == expected


def test_a_reclaim_closes_at_once_and_gives_notice_of_its_moment() -> None:
    assert closing(reclaim_at=at(600)) == Closing(0.0, 600.0)
    assert closing(reclaim_at=at(-600)) == Closing(0.0, 0.0)
    assert closing(reclaim_at=at(-600), reclaim_until=at(-1)) == Closing()
    assert closing(reclaim_at=at(600), windows=[(at(60), at(90))]) == Closing(0.0, 60.0)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1, 1e6)), max_size=5), st.none() | st.floats(-1e6, 1e6))
def test_whoever_is_told_to_go_gets_no_new_work_and_no_time_is_negative(spans: Any, reclaim: float | None) -> None:
    found = closing(windows=[(at(s), at(s + n)) for s, n in spans], reclaim_at=None if reclaim is None else at(reclaim))
    assert found.closed or found.back_in_s is None
    assert all(value is None or value >= 0 for value in (found.closes_in_s, found.back_in_s))


db = pytest.mark.django_db


def placed() -> int:
    run_round()
    return Unit.objects.filter(state="placed").count()


def a_long_task(seconds: int) -> None:
    """A unit that is expected to take so many seconds on a pool of the builders (12.5 GFLOPS a core)."""
    a_task(version=a_version(demand={"tflop": str(seconds * 0.0125)}))


@db
@pytest.mark.parametrize(("run_s", "expected"), [(450, 1), (600, 0)])  # P90 of what was never seen is double: 900 s, 1,200 s
def test_only_what_ends_before_the_maintenance_is_placed(run_s: int, expected: int) -> None:
    pool = a_pool()
    a_window(pool, in_s=1000)
    a_long_task(run_s)
    assert placed() == expected


@db
def test_a_pool_in_maintenance_gets_nothing_and_resumes_by_itself() -> None:
    pool = a_pool()
    window = a_window(pool, in_s=-10, for_s=3600)
    a_task()
    assert placed() == 0
    MaintenanceWindow.objects.filter(pk=window.pk).update(period=(timezone.now() - timedelta(hours=1), timezone.now()))
    assert placed() == 1
    assert Pool.objects.get().state == "active"


@db
def test_a_task_for_a_pool_in_maintenance_waits_and_is_not_refused() -> None:
    pool = a_pool()
    a_window(pool)
    assert a_task(constraints={"providers": [pool.organization.slug]}).state == "queued"


@db
def test_in_the_notice_of_a_window_the_agent_drains_and_is_asked_for_checkpoints() -> None:
    pool = a_pool()
    a_task(inputs={"count": 3})
    agent = FakeAgent.of(pool)
    run_round()
    agent.beat(want=2)
    a_window(pool, in_s=100)
    answer = agent.beat(want=2)
    assert (answer.drain, answer.leased, answer.silent) == (True, [], False)
    assert answer.checkpoint == [[attempt, fence] for attempt, fence in agent.held.items()]
    assert answer.back_in_s is not None
    assert 90 < answer.back_in_s <= 100
    document = answer.document()
    assert (document["checkpoint"], document["reclaim_in_s"]) == (answer.checkpoint, answer.back_in_s)


@db
def test_an_agent_that_knows_may_wait_in_its_poll() -> None:
    pool = a_pool()
    a_window(pool)
    agent = FakeAgent.of(pool)
    assert keep_in_touch(agent.agent, Beat(agent.session, 0, [], [], draining=True)).silent


@db
def test_units_placed_where_maintenance_begins_go_elsewhere() -> None:
    pool = a_pool()
    a_task(inputs={"count": 3})
    assert placed() == 3
    a_window(pool, in_s=settings.RECLAIM_NOTICE_SECONDS - 10)
    assert expire_leases()["unfetched"] == 3
    other = a_pool()
    run_round()
    assert set(Unit.objects.values_list("pool_id", flat=True)) == {other.pk}


MOMENTS = (None, -400.0, -1.0, 1.0, 299.0, 301.0)


@db
@pytest.mark.parametrize("reclaim", MOMENTS)
@pytest.mark.parametrize("until", [None, -0.5, 500.0])
@pytest.mark.parametrize("window", MOMENTS)
def test_postgresql_closes_a_pool_exactly_when_the_pure_rule_does(
    reclaim: float | None, until: float | None, window: float | None
) -> None:
    pool, now = a_pool(), timezone.now()
    moments = [None if one is None else now + timedelta(seconds=one) for one in (reclaim, until)]
    fields: dict[str, Any] = {"reclaim_at": moments[0], "reclaim_until": moments[1]} if moments[0] else {}
    Pool.objects.filter(pk=pool.pk).update(**fields, reclaimed_by="owner" if fields else "")
    if window is not None:
        a_window(pool, in_s=window, for_s=200)
    (closed,) = rows(f"SELECT {CLOSED_NOW} FROM marketplace_pool p WHERE p.id = %(pool)s", {"notice": 300, "pool": pool.pk})[0]
    assert closed == closings_of([Pool.objects.get(pk=pool.pk)]).get(pool.pk, Closing()).closed


@db
def test_a_drained_pool_goes_on_draining_through_its_maintenance() -> None:
    pool = move_pool(a_pool(), "drain")
    agent = FakeAgent.of(pool)
    assert agent.beat(want=1).drain
    window = a_window(pool, in_s=-5)
    assert agent.beat(want=1).drain
    take_back_window(pool, window.pk)
    answer = agent.beat(want=1)
    assert (answer.drain, answer.back_in_s) == (True, None)
    assert Pool.objects.get().state == "draining"


@db
def test_windows_of_a_pool_never_overlap_and_those_of_two_may() -> None:
    pool, now = a_pool(), timezone.now()
    window = Window(now + timedelta(hours=1), now + timedelta(hours=2), "power", "new transformer")
    plan_window(pool, window)
    plan_window(a_pool(), window)
    with pytest.raises(Conflict) as problem:
        plan_window(pool, Window(now + timedelta(minutes=90), now + timedelta(hours=3)))
    assert (problem.value.code, problem.value.field) == ("window_overlaps", "start")
    plan_window(pool, Window(now + timedelta(hours=2), now + timedelta(hours=3)))


@db
@pytest.mark.parametrize(
    ("start_s", "end_s", "code"),
    [(-3600, 60, "window_in_the_past"), (60, 60, "window_empty"), (600, 60, "window_empty"), (60, 91 * 86400, "window_too_long"),
     (400 * 86400, 401 * 86400, "window_too_long")],
)  # fmt: skip
def test_windows_that_make_no_sense_are_refused(start_s: float, end_s: float, code: str) -> None:
    now = timezone.now()
    with pytest.raises(Invalid) as problem:
        plan_window(a_pool(), Window(now + timedelta(seconds=start_s), now + timedelta(seconds=end_s)))
    assert problem.value.code == code


@db
def test_a_planned_window_is_taken_back_a_running_one_ended_and_a_past_one_kept() -> None:
    pool = a_pool()
    planned, running, past = a_window(pool, in_s=9000), a_window(pool, in_s=-5), a_window(pool, in_s=-9000, for_s=10)
    take_back_window(pool, planned.pk)
    take_back_window(pool, running.pk)
    assert MaintenanceWindow.objects.filter(pk=planned.pk).count() == 0
    assert MaintenanceWindow.objects.get(pk=running.pk).period.upper <= timezone.now()
    with pytest.raises(Conflict) as over:
        take_back_window(pool, past.pk)
    assert over.value.code == "window_over"
    for number in (planned.pk, a_window(a_pool(), in_s=50).pk):
        with pytest.raises(NotFound) as unknown:
            take_back_window(pool, number)
        assert unknown.value.code == "window_unknown"


@db
def test_a_reclaimed_pool_gets_nothing_new_until_it_is_given_back() -> None:
    pool = a_pool()
    a_task(inputs={"count": 2})
    agent = FakeAgent.of(pool)
    run_round()
    agent.beat(want=1)
    reclaim_pool(pool, in_s=600)
    answer = agent.beat(want=1)
    assert (answer.leased, answer.drain, len(answer.checkpoint)) == ([], True, 1)
    assert expire_leases()["unfetched"] == 1
    assert placed() == 0
    give_back_pool(pool)
    assert placed() == 1
    assert len(agent.beat(want=1).leased) == 1


@db
def test_a_reclaim_for_a_time_ends_by_itself() -> None:
    pool = a_pool()
    a_task()
    reclaim_pool(pool, in_s=0, for_s=60)
    assert placed() == 0
    Pool.objects.update(reclaim_at=timezone.now() - timedelta(seconds=61), reclaim_until=timezone.now() - timedelta(seconds=1))
    assert placed() == 1


@db
@pytest.mark.parametrize("state", ["registered", "verified", "suspended", "retired"])
def test_only_a_pool_that_works_can_be_wanted_back(state: str) -> None:
    with pytest.raises(Conflict):
        reclaim_pool(a_pool(state=state), in_s=0)


@db
def test_an_agent_that_says_its_machine_is_in_use_closes_its_pool_and_opens_it_again() -> None:
    pool = a_pool(kind="community", tier="end")
    a_task(inputs={"count": 2}, constraints={"accept_unproven": True})
    agent = FakeAgent.of(pool)
    run_round()
    said = Beat(agent.session, 5, [], [], reclaim_in_s=0.0)
    assert keep_in_touch(agent.agent, said).leased == []
    assert Pool.objects.get().reclaimed_by == "agent"
    assert expire_leases()["unfetched"] == 2
    first = Pool.objects.get().reclaim_at
    agent = FakeAgent(FakeAgent.of(pool).agent, agent.session)
    keep_in_touch(agent.agent, said)
    assert Pool.objects.get().reclaim_at == first  # the same moment told again writes nothing
    with pytest.raises(Conflict) as held:
        give_back_pool(pool)
    assert held.value.code == "reclaimed_by_agent"
    agent.beat()
    assert (Pool.objects.get().reclaim_at, Pool.objects.get().reclaimed_by) == (None, "")
    assert placed() == 2


@db
def test_an_agent_cannot_end_what_its_owner_reclaimed() -> None:
    pool = reclaim_pool(a_pool(), in_s=10)
    agent_reclaims(pool, None)
    agent_reclaims(pool, 0.0)
    found = Pool.objects.get()
    assert (found.reclaimed_by, found.reclaim_at) == ("owner", pool.reclaim_at)


@db
def test_reclaimed_work_goes_to_another_pool_and_costs_no_try() -> None:
    first, second = a_pool(), a_pool(rates={"core_second": "1"})
    a_task()
    agent = FakeAgent.of(first)
    run_round()
    agent.beat(want=1)
    reclaim_pool(first, in_s=0)
    agent.failed("reclaimed", code="reclaimed")
    Unit.objects.update(not_before=None)
    run_round()
    unit = Unit.objects.get()
    assert (unit.pool_id, unit.state, unit.tries) == (second.pk, "placed", 0)
    assert Attempt.objects.get().reason_class == "reclaimed"


@db
def test_a_status_replaces_what_a_pool_was_known_to_hold() -> None:
    agent = an_agent(a_pool(agent=False))
    other = an_agent(a_pool(agent=False))
    keep_status(agent, {"load1": 1.5}, [("a" * 64, 5), ("b" * 64, 6)])
    keep_status(other, {}, [("a" * 64, 5)])
    keep_status(agent, {"load1": 2.5}, [("b" * 64, 7), ("c" * 64, 8)])
    found = cached_of([agent.pool_id, other.pool_id], ["a" * 64, "b" * 64])
    assert found == {(agent.pool_id, "b" * 64): 7, (other.pool_id, "a" * 64): 5}
    keep_status(agent, {"load1": 3.5}, None)
    assert cached_of([agent.pool_id], ["c" * 64]) == {(agent.pool_id, "c" * 64): 8}
    agent.refresh_from_db()
    assert agent.status == {"load1": 3.5}


@db
def test_a_retired_pool_has_no_maintenance() -> None:
    now = timezone.now()
    with pytest.raises(DomainError):
        plan_window(a_pool(state="retired"), Window(now + timedelta(hours=1), now + timedelta(hours=2)))
