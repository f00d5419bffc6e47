"""A version's tests: nobody's word alone keeps a program from being listed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from marketplace.models import CapabilityVersion, Pool, Task
from scheduler.services.advancing import advance_task
from scheduler.services.concluding import conclude_tests_of, confirm_failures, publish_version
from scheduler.services.expanding import expand_task
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_tasks import FakeAgent, a_version
from tests.builders_trust import RIGHT, agents_of, an_owner, ends_of, output_of

pytestmark = pytest.mark.django_db


def a_draft() -> CapabilityVersion:
    """Its one test wants a table of numbers; nothing compares results."""
    tests = [{"name": "one", "inputs": {"count": 1}, "expect": {"files": ["*.csv"]}}]
    return a_version(state="draft", outputs=[{"path": "*"}], tests=tests)


def a_market(**rates: str) -> dict[str, FakeAgent]:
    """A pool of each owner at a price per core second, and its agent."""
    return agents_of({name: a_pool(an_owner(name), rates={"core_second": rate}) for name, rate in rates.items()})


def work(agents: Mapping[str, FakeAgent], *liars: str) -> None:
    """Tests that wait are placed, and everybody reports: a liar, that the program left another file."""
    for task in Task.objects.filter(kind="test", state="queued"):
        expand_task(task.pk)
    run_round()
    for name, agent in agents.items():
        agent.beat(want=10)
        agent.done(outputs=[output_of(RIGHT) | ({"path": "empty.txt"} if name in liars else {})])
    for task in Task.objects.filter(kind="test", ended_at=None):
        advance_task(task.pk)
    conclude_tests_of(None)


def report_of(version: CapabilityVersion) -> tuple[str, list[dict[str, Any]]]:
    version.refresh_from_db()
    return version.state, version.test_report


def test_a_liar_alone_cannot_keep_a_program_from_being_listed() -> None:
    agents = a_market(mallory="0.001", bob="1")
    version = publish_version(a_draft())
    work(agents, "mallory")
    first, again = Task.objects.filter(kind="test").order_by("pk")
    assert (list(ends_of(first)), again.constraints) == (["mallory"], {"exclude_providers": ["mallorys-pools"]})
    assert report_of(version)[0] == "testing"
    work(agents, "mallory")
    state, (entry,) = report_of(version)
    assert (state, entry["state"], entry["task"]) == ("published", "passed", str(again.pk))
    assert "passed at another owner's" in entry["detail"]


def test_two_owners_who_agree_make_it_a_draft_again() -> None:
    agents = a_market(bob="0.001", erin="1")
    version = publish_version(a_draft())
    work(agents, "bob", "erin")
    work(agents, "bob", "erin")
    state, (entry,) = report_of(version)
    assert (state, entry["state"]) == ("draft", "failed")
    assert "holds no file like *.csv" in entry["detail"]
    assert Task.objects.filter(kind="test").count() == 2


def test_where_there_is_no_other_owner_one_word_has_to_be_enough() -> None:
    agents = a_market(bob="0.001")
    version = publish_version(a_draft())
    work(agents, "bob")
    assert report_of(version)[0] == "draft"
    assert Task.objects.filter(kind="test").count() == 1


def test_a_second_run_that_nobody_takes_in_time_leaves_the_first_word() -> None:
    agents = a_market(bob="0.001", erin="1")
    version = publish_version(a_draft())
    work({"bob": agents["bob"]}, "bob")
    again = Task.objects.filter(kind="test").latest("pk")
    Task.objects.filter(pk=again.pk).update(created_at=timezone.now() - timedelta(minutes=11))
    conclude_tests_of(None)
    again.refresh_from_db()
    assert again.cancel_requested_at is not None
    advance_task(again.pk)
    conclude_tests_of(None)
    assert report_of(version)[0] == "draft"


def test_a_second_look_confirms_nothing_twice_and_a_new_publishing_begins_anew() -> None:
    agents = a_market(bob="0.001", erin="1")
    version = publish_version(a_draft())
    work(agents, "bob")
    assert confirm_failures(version.pk) == 0
    work(agents, "bob", "erin")
    assert report_of(version)[0] == "draft"
    publish_version(version)
    assert Task.objects.filter(kind="test").count() == 3
    work(agents)
    assert report_of(version)[0] == "published"
    assert Pool.objects.filter(quarantines__gt=0).count() == 0
