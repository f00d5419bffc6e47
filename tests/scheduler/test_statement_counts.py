"""Every step of the river takes the same number of statements for five units as for five hundred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketplace.models import Pool, Task
from metering.services import measure
from scheduler.models import Unit, Unjudged
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import expire_leases
from scheduler.services.explaining import explain_task
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from scheduler.stores import store_bytes
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of
from tests.builders_trust import RIGHT, WRONG, a_checked_version, output_of, owners_pools

pytestmark = pytest.mark.django_db
FEW, MANY = 5, 500
OUTPUT = {"path": "part.txt", "sha256": sha_of(b"a part"), "bytes": 6, "media_type": "text/plain"}


class River:
    """A task of so many units on a pool that takes them all at once."""

    def __init__(self, units: int) -> None:
        store_bytes(b"a part")
        self.pool = a_pool(cores=1_000, memory_mib=10**6, disk_mib=10**6)
        self.agent = FakeAgent.of(self.pool)
        version = a_version(outputs=[{"path": "part.txt", "required": False}])
        self.task = a_task(version=version, inputs={"count": units}, expanded=False)
        self.units = units

    def expand(self) -> None:
        assert expand_task(self.task.pk) == self.units

    def match(self) -> None:
        assert run_round() == self.units

    def lease(self) -> None:
        assert len(self.agent.beat(want=self.units).leased) == self.units

    def renew(self) -> None:
        assert self.agent.beat(phase="running").silent

    def settle(self) -> None:
        assert self.agent.done(outputs=[OUTPUT]).refused == []

    def settle_failures(self) -> None:
        assert self.agent.failed("node_fault").refused == []

    def restart(self) -> None:
        self.agent = FakeAgent(self.agent.agent)
        assert self.agent.beat().silent

    def expire(self) -> None:
        self.pool.agents.update(lease_until="2026-01-01T00:00:00Z")
        assert expire_leases()["lost"] == self.units

    def measure(self) -> None:
        assert measure().taken == self.units

    def advance(self) -> None:
        assert advance_task(self.task.pk) == "delivered"

    def cancel(self) -> None:
        assert cancel_task(self.task.pk).state == "cancelled"

    def explain(self) -> None:
        assert explain_task(Task.objects.get(pk=self.task.pk))["where"][0]["units"] == self.units

    def clear(self) -> None:
        """Away with it, so that the next river has the market for itself."""
        Unit.objects.filter(task=self.task, state__in=["waiting", "placed"]).update(state="cancelled")
        self.pool.agents.update(lease_until="2026-01-01T00:00:00Z")


COURSES: dict[str, list[str]] = {
    "the good course": ["expand", "match", "explain", "lease", "renew", "settle", "measure", "advance"],
    "failures": ["expand", "match", "lease", "settle_failures", "measure"],
    "a restart": ["expand", "match", "lease", "restart", "measure"],
    "an agent gone": ["expand", "match", "lease", "expire", "measure"],
    "a cancellation": ["expand", "match", "cancel"],
}


class CheckedRiver:
    """The same with results that two owners compare; what both report is one verdict over all units."""

    def __init__(self, units: int) -> None:
        machine = {"cores": 1_000, "memory_mib": 10**6, "disk_mib": 10**6}
        self.pools, self.units = owners_pools("bob", "erin", **machine), units
        self.agents = [FakeAgent.of(pool) for pool in self.pools.values()]
        self.task = a_task(version=a_checked_version(), inputs={"count": units})
        self.claims = output_of(RIGHT), output_of(WRONG)

    def first(self) -> None:
        run_round()
        assert sum(len(agent.beat(want=self.units).leased) for agent in self.agents) == self.units

    def ask_for_more(self) -> None:
        assert judge_units() == self.units

    def second(self) -> None:
        run_round()
        assert sum(len(agent.beat(want=self.units).leased) for agent in self.agents) == self.units

    def report(self) -> None:
        for agent in self.agents:
            agent.done(outputs=[self.claims[0]])

    def judge(self) -> None:
        assert judge_units() == self.units * 3

    def accuse(self) -> None:
        for agent in self.agents:
            agent.failed("capability_error", exit_code=1)

    def disagree(self) -> None:
        for agent, claim in zip(self.agents, self.claims, strict=True):
            agent.done(outputs=[claim])

    def advance(self) -> None:
        assert advance_task(self.task.pk) in ("delivered", "failed")

    def clear(self) -> None:
        Unit.objects.filter(task=self.task, state__in=["blocked", "waiting", "placed"]).update(state="cancelled")
        Unjudged.objects.all().delete()
        Pool.objects.filter(pk__in=[pool.pk for pool in self.pools.values()]).update(state="retired")


CHECKED: dict[str, list[str]] = {
    "agreement": ["first", "ask_for_more", "second", "report", "judge", "advance"],
    "disagreement": ["first", "ask_for_more", "second", "disagree", "judge", "advance"],
    "an accusation": ["first", "ask_for_more", "second", "accuse"],
}


def statements(work: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as seen:
        work()
    return len(seen)


@pytest.mark.parametrize("course", COURSES)
def test_statements_do_not_grow_with_units(course: str) -> None:
    counts = []
    for units in (1, FEW, MANY):  # the first one warms caches of content types and specs
        river = River(units)
        counts.append({step: statements(getattr(river, step)) for step in COURSES[course]})
        river.clear()
    assert counts[1] == counts[2]
    assert max(counts[2].values()) < 25


@pytest.mark.parametrize("course", CHECKED)
def test_statements_do_not_grow_with_units_whose_results_are_compared(course: str) -> None:
    counts = []
    for units in (1, FEW, MANY // 5):
        river = CheckedRiver(units)
        counts.append({step: statements(getattr(river, step)) for step in CHECKED[course]})
        river.clear()
    assert counts[1] == counts[2]
    assert max(counts[2].values()) < 60, "two agents' steps count together"
