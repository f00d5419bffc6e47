"""Builders for results that are checked: owners with a pool each, honest ones and liars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marketplace.models import CapabilityVersion, Pool, Task
from scheduler.models import Unit
from scheduler.services.advancing import advance_task
from scheduler.services.expanding import expand_task
from scheduler.services.judging import judge_units
from scheduler.services.placing import run_round
from scheduler.stores import store_bytes
from tests.builders import Person, a_person, a_pool, an_organization
from tests.builders_tasks import FakeAgent, a_version, sha_of

RIGHT, WRONG = b"1,2,3\n", b"4,5,6\n"


def an_owner(name: str) -> Person:
    """Somebody with an organization of their own that provides."""
    return a_person(name, an_organization(f"{name}s-pools", is_provider=True, is_user=False))


def owners_pools(*names: str, **fields: Any) -> dict[str, Pool]:
    """A pool of each owner, by the owner's name."""
    return {name: a_pool(an_owner(name), **fields) for name in names}


def a_checked_version(verify: Any = "exact", **changes: Any) -> CapabilityVersion:
    """A version whose units leave a table of numbers."""
    fields = {"verify": verify, "outputs": [{"path": "numbers.csv"}]}
    return a_version(**fields | changes)


def output_of(content: bytes) -> dict[str, Any]:
    store_bytes(content)
    return {"path": "numbers.csv", "sha256": sha_of(content), "bytes": len(content), "media_type": "text/csv"}


def take_turns(task: Task, agents: Mapping[str, FakeAgent], says: Mapping[str, bytes] | None = None, *, rounds: int = 40) -> Task:
    """Match, lease, report (`says`: what an owner's agent claims, RIGHT if not named), judge, advance; until the end."""
    claims = {name: output_of((says or {}).get(name, RIGHT)) for name in agents}
    for _ in range(rounds):
        Unit.objects.filter(task=task).update(not_before=None)
        run_round()
        for name, agent in agents.items():
            agent.beat(want=10_000)
            agent.done(outputs=[claims[name]])
        judge_units()
        advance_task(task.pk)
        expand_task(task.pk)
        task.refresh_from_db()
        if task.ended_at is not None:
            break
    return task


def agents_of(pools: Mapping[str, Pool]) -> dict[str, FakeAgent]:
    return {name: FakeAgent.of(pool) for name, pool in pools.items()}


def ends_of(task: Task) -> dict[str, list[str]]:
    """The states of a task's attempts by owner."""
    found: dict[str, list[str]] = {}
    for attempt in task.attempt_set.select_related("pool__organization").order_by("id"):
        found.setdefault(attempt.pool.organization.slug.removesuffix("s-pools"), []).append(attempt.state)
    return found
