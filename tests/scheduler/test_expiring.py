"""The sweeps: leases past their time are lost, what nobody fetches goes elsewhere, lost wakes are found."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.models import Agent, Pool, Task
from marketplace.services.providers import move_pool
from scheduler.models import Attempt, Ended, Unit
from scheduler.services import expiring
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import expire_leases, sweep
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task

pytestmark = pytest.mark.django_db
NOTHING = {"lost": 0, "overrun": 0, "unfetched": 0, "stranded": 0}


def an_agent_at_work(units: int = 4, want: int = 2) -> FakeAgent:
    pool = a_pool()
    a_task(inputs={"count": units})
    run_round()
    agent = FakeAgent.of(pool)
    agent.beat(want=want)
    return agent


def goes_away(agent: FakeAgent) -> None:
    """Long ago: PostgreSQL's now() is when the test's transaction began."""
    Agent.objects.filter(pk=agent.agent.pk).update(lease_until=timezone.now() - timedelta(hours=1))


def test_while_everybody_is_heard_of_nothing_expires() -> None:
    an_agent_at_work()
    assert expire_leases() == NOTHING
    assert Unit.objects.filter(state="placed").count() == 2


def test_what_an_agent_held_is_lost_when_it_was_not_heard_of_and_no_try_is_used_up() -> None:
    agent = an_agent_at_work()
    goes_away(agent)
    assert expire_leases() == {"lost": 2, "overrun": 0, "unfetched": 2, "stranded": 0}

    for attempt in Attempt.objects.all():
        assert (attempt.state, attempt.reason_class, attempt.code) == ("lost", "node_fault", "lease_expired")
        assert (attempt.usage, attempt.ended_at is not None) == (None, True)
    assert {(u.state, u.pool_id, u.tries) for u in Unit.objects.all()} == {("waiting", None, 0)}
    assert set(Ended.objects.values_list("attempt", flat=True)) == set(Attempt.objects.values_list("id", flat=True))
    assert expire_leases() == NOTHING


def test_one_agent_that_goes_away_takes_nothing_from_another() -> None:
    agent, other = an_agent_at_work(), FakeAgent.of(a_pool())
    a_task(inputs={"count": 2})
    run_round()
    other.beat(want=9)
    goes_away(agent)
    expire_leases()
    assert not Attempt.objects.filter(agent=other.agent).exclude(state="leased").exists()
    assert not Attempt.objects.filter(agent=agent.agent, state="leased").exists()


def test_an_agent_that_returns_after_its_time_learns_that_its_work_is_void() -> None:
    agent = an_agent_at_work()
    held = dict(agent.held)
    goes_away(agent)
    expire_leases()
    assert sorted(agent.beat().stop) == sorted([a, f, "stale_lease"] for a, f in held.items())
    assert agent.done().refused == sorted(held.items())


def test_a_replaced_agents_work_is_lost_though_its_time_is_not_over() -> None:
    agent = an_agent_at_work()
    Agent.objects.filter(pk=agent.agent.pk).update(retired_at=timezone.now())
    assert expire_leases()["lost"] == 2


def test_an_attempt_that_runs_for_ever_is_ended_though_its_agent_keeps_naming_it() -> None:
    agent = an_agent_at_work()
    limit = timedelta(seconds=2 * 3600 + 3600)
    first = min(agent.held)
    Attempt.objects.filter(pk=first).update(leased_at=F("leased_at") - limit - timedelta(seconds=1))
    Attempt.objects.exclude(pk=first).update(leased_at=F("leased_at") - limit + timedelta(seconds=60))
    assert expire_leases()["overrun"] == 1
    assert Attempt.objects.get(pk=first).code == "overrun"
    assert Attempt.objects.exclude(pk=first).get().state == "leased"


@pytest.mark.parametrize("verb", ["drain", "suspend", "retire"])
def test_what_is_placed_on_a_pool_that_takes_no_work_any_more_goes_back(verb: str) -> None:
    an_agent_at_work(units=4, want=2)
    move_pool(Pool.objects.get(), verb)
    assert expire_leases()["unfetched"] == 2
    assert Unit.objects.filter(state="waiting", pool=None).count() >= 2
    assert Unit.objects.filter(state="leased").count() == (0 if verb == "retire" else 2)


def test_a_bounded_number_is_ended_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiring, "LOST_PER_SWEEP", 3)
    agent = an_agent_at_work(units=8, want=8)
    goes_away(agent)
    assert [expire_leases()["lost"] for _ in range(4)] == [3, 3, 2, 0]


def test_many_agents_lose_their_work_in_as_many_statements_as_one() -> None:
    counts = []
    for agents in (1, 6):
        for _ in range(agents):
            goes_away(an_agent_at_work(units=3, want=3))
        with CaptureQueriesContext(connection) as seen:
            lost = expire_leases()["lost"]
        assert lost > 0
        counts.append(len(seen))
        Task.objects.update(state="cancelled", ended_at=timezone.now())
        Unit.objects.filter(state="waiting").update(state="cancelled")
    assert counts[0] == counts[1]


def test_tasks_that_lack_units_are_found_and_cancelled_ones_are_not() -> None:
    a_pool()
    lacking = a_task(inputs={"count": 3}, expanded=False)
    a_task(inputs={"count": 3})
    for fields in ({"cancel_requested_at": timezone.now()}, {"reason_class": "deadline"}):
        Task.objects.filter(pk=a_task(expanded=False).pk).update(**fields)
    assert sweep()["expand"] == [lacking.pk]
    expand_task(lacking.pk)
    assert sweep()["expand"] == []
