"""Every step of the river takes the same number of statements for five units as for five hundred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from marketplace.models import Task
from metering.services import measure
from scheduler.models import Unit
from scheduler.services.advancing import advance_task, cancel_task
from scheduler.services.expanding import expand_task
from scheduler.services.expiring import expire_leases
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from scheduler.stores import store_bytes
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_task, a_version, sha_of

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
