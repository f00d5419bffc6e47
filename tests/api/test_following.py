"""What a user sees of a task: lists, progress, units, events, logs, cancelling, and why it waits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django.utils import timezone

from billing.services import refresh_costs
from marketplace.models import Agent, Task
from metering.services import measure
from scheduler.services.advancing import advance_task
from scheduler.services.logs import LogPiece, store_logs
from scheduler.services.placing import run_round
from tests import builders as build
from tests.builders_http import nothing_written, problem_of
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end

pytestmark = pytest.mark.django_db
URL = "/api/v1/tasks"


@pytest.fixture
def alice() -> Any:
    return build.client_of(build.alice())


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [task["id"] for task in answer.json()["results"]]


def leased(task: Task, agent: FakeAgent, want: int = 1) -> FakeAgent:
    """The agent holds some of the task's units, and they run."""
    run_round()
    agent.beat(want=want)
    agent.beat(phase="running")
    return agent


def test_a_list_comes_newest_first_in_pages_that_new_tasks_do_not_shift(alice: Any) -> None:
    build.a_pool()
    version = a_version()
    tasks = [str(a_task(version=version, expanded=False).pk) for _ in range(5)]
    first = alice.get(f"{URL}?limit=2")
    a_task(version=version, expanded=False)
    a_task(build.mallory(), version=version, expanded=False)
    pages, following = [ids(first)], first.json()["next"]
    while following:
        answer = alice.get(f"{urlsplit(following).path}?{urlsplit(following).query}")
        pages, following = [*pages, ids(answer)], answer.json()["next"]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [one for page in pages for one in page] == tasks[::-1]


def test_filters_narrow_a_list(alice: Any) -> None:
    pool = build.a_pool()
    old, new = a_version(name="film"), a_version(name="film", version="2.0.0")
    done = run_to_end(a_task(version=old, labels={"shot": "7", "cut": "a:b"}), FakeAgent.of(pool))
    queued, other = a_task(version=new, labels={"shot": "8"}), a_task()
    Task.objects.filter(pk=done.pk).update(created_at=timezone.now() - timedelta(days=2))
    yesterday = quote((timezone.now() - timedelta(days=1)).isoformat())
    expected = {
        "state=delivered": [done],
        "state=queued": [other, queued],
        "state=queued&state=delivered": [other, queued, done],
        "capability=carols-programs/film": [queued, done],
        "capability=carols-programs/film@2.0.0": [queued],
        "capability=carols-programs/unheard-of": [],
        "label=shot:7": [done],
        "label=cut:a:b": [done],
        "label=shot": [],
        f"created_after={yesterday}": [other, queued],
        f"created_before={yesterday}": [done],
        "state=queued&label=shot:8": [queued],
    }
    assert {query: ids(alice.get(f"{URL}?{query}")) for query in expected} == {
        query: [str(task.pk) for task in tasks] for query, tasks in expected.items()
    }


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("state=lost", "invalid_input", "state"),
        ("created_after=yesterday", "invalid_input", "created_after"),
        ("label=" + "x" * 301, "invalid_input", "label"),
        ("capability=a%00b", "invalid_input", "capability"),
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=all", "invalid_parameter", "limit"),
        ("cursor=x", "invalid_cursor", "cursor"),
    ],
)
def test_a_filter_that_makes_no_sense_is_named(alice: Any, query: str, code: str, field: str) -> None:
    assert problem_of(alice.get(f"{URL}?{query}")) == (422, code, field)


def test_lists_cost_the_same_for_many_tasks(alice: Any, django_assert_max_num_queries: Any) -> None:
    build.a_pool()
    version = a_version()
    for _ in range(12):
        a_task(version=version, expanded=False)
    alice.get(URL)
    with django_assert_max_num_queries(6):
        assert len(ids(alice.get(URL))) == 12


def test_progress_and_cost_grow_while_units_run(alice: Any) -> None:
    pool = build.a_pool(basis="result", rates={"result": "0.5"})
    task = a_task(inputs={"count": 4})
    agent = leased(task, FakeAgent.of(pool), want=2)
    seen = alice.get(f"{URL}/{task.pk}").json()
    counts = {"units_total": 4, "units_done": 0, "units_running": 2, "units_waiting": 2, "fraction": 0.0}
    assert (seen["state"], seen["progress"]) == ("running", counts)

    agent.done()
    measure()
    refresh_costs()
    seen = alice.get(f"{URL}/{task.pk}").json()
    assert seen["progress"] == counts | {"units_done": 2, "units_running": 0, "fraction": 0.5}
    assert seen["cost"] == {"amount": "1.000000", "currency": "CNY", "final": False}
    assert alice.get(URL).json()["results"][0] == seen


def test_units_come_in_pages_with_their_attempts(alice: Any) -> None:
    pool = build.a_pool()
    task = a_task(inputs={"count": 5})
    leased(task, FakeAgent.of(pool), want=1).failed("node_fault", code="download_failed", detail="boom", exit_code=3)
    first = alice.get(f"{URL}/{task.pk}/units?limit=2").json()
    second = alice.get(first["next"]).json()
    third = alice.get(second["next"]).json()
    units = [*first["results"], *second["results"], *third["results"]]
    assert ([unit["index"] for unit in units], third["next"]) == ([0, 1, 2, 3, 4], None)
    (attempt,) = units[0]["attempts"]
    assert (attempt["state"], attempt["pool"], attempt["code"]) == ("failed", pool.identifier, "download_failed")
    assert (attempt["detail"], attempt["exit_code"]) == ("boom", 3)
    assert (units[0]["state"], units[0]["tries"], units[4]["attempts"]) == ("waiting", 1, [])


@pytest.mark.parametrize("what", ["units", "logs"])
@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "after=x", "after=" + "9" * 19])
def test_a_page_of_units_or_logs_has_bounds(alice: Any, what: str, query: str) -> None:
    build.a_pool()
    task = a_task()
    answer = alice.get(f"{URL}/{task.pk}/{what}?{query}")
    assert problem_of(answer) == (422, "invalid_parameter", query.partition("=")[0])


def test_events_are_read_from_where_one_stopped(alice: Any) -> None:
    pool = build.a_pool()
    task = run_to_end(a_task(inputs={"count": 2}), FakeAgent.of(pool))
    events = alice.get(f"{URL}/{task.pk}/events").json()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [events[0]["kind"], events[-1]["kind"]] == ["task.submitted", "task.delivered"]
    assert alice.get(f"{URL}/{task.pk}/events?after=2").json() == events[2:]
    assert alice.get(f"{URL}/{task.pk}/events?after={len(events)}").json() == []
    assert alice.get(f"{URL}/{task.pk}/events", headers={"Last-Event-ID": "2"}).json() == events[2:]
    assert problem_of(alice.get(f"{URL}/{task.pk}/events?after=-1")) == (422, "invalid_parameter", "after")


def say(agent: FakeAgent, text: str, *, offset: int = 0, stream: str = "stdout") -> None:
    pieces = [LogPiece(attempt, fence, stream, offset, text.encode()) for attempt, fence in agent.held.items()]
    store_logs(agent.agent, pieces)


@pytest.mark.parametrize("ending", ["delivered", "failed", "cancelled"])
def test_logs_are_read_in_every_state(alice: Any, ending: str) -> None:
    pool = build.a_pool()
    task = a_task()
    url = f"{URL}/{task.pk}/logs"
    assert alice.get(url).json() == {"next": 0, "chunks": []}

    agent = leased(task, FakeAgent.of(pool))
    say(agent, "hello ")
    first = alice.get(url).json()
    (attempt,) = agent.held
    place = {"attempt": attempt, "unit": 0, "stage": "unit", "stream": "stdout"}
    assert first["chunks"] == [place | {"offset": 0, "text": "hello "}]

    say(agent, "world", offset=6)
    say(agent, "oh", stream="stderr")
    if ending == "cancelled":
        alice.post(f"{URL}/{task.pk}/cancel")
        agent.report(*({"attempt": a, "fence": f, "outcome": "cancelled"} for a, f in agent.held.items()))
    elif ending == "failed":
        agent.failed("capability_error")
    else:
        agent.done()
    advance_task(task.pk)
    assert alice.get(f"{URL}/{task.pk}").json()["state"] == ending
    rest = alice.get(f"{url}?after={first['next']}").json()
    assert [chunk["text"] for chunk in rest["chunks"]] == ["world", "oh"]
    assert alice.get(f"{url}?after={rest['next']}").json() == {"next": rest["next"], "chunks": []}
    assert [chunk["text"] for chunk in alice.get(f"{url}?stream=stderr").json()["chunks"]] == ["oh"]
    assert alice.get(f"{url}?unit=1").json()["chunks"] == alice.get(f"{url}?stage=merge").json()["chunks"] == []
    assert problem_of(alice.get(f"{url}?stream=both")) == (422, "invalid_parameter", "stream")


def test_a_task_that_waits_is_cancelled_at_once_and_again_without_harm(alice: Any) -> None:
    build.a_pool()
    task = a_task()
    for _ in range(2):
        answer = alice.post(f"{URL}/{task.pk}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    seen = alice.get(f"{URL}/{task.pk}").json()
    assert (seen["cancel_requested"], seen["reason_class"]) == (True, "user_cancel")
    assert seen["progress"]["units_waiting"] == 0


def test_a_task_that_runs_is_cancelled_when_its_agent_has_stopped(alice: Any) -> None:
    pool = build.a_pool()
    task = a_task(inputs={"count": 2})
    agent = leased(task, FakeAgent.of(pool))
    answer = alice.post(f"{URL}/{task.pk}/cancel").json()
    assert (answer["state"], answer["cancel_requested"], answer["progress"]["units_running"]) == ("running", True, 1)
    ((attempt, fence),) = agent.held.items()
    assert agent.beat().stop == [[attempt, fence, "user_cancel"]]
    agent.report({"attempt": attempt, "fence": fence, "outcome": "cancelled"})
    advance_task(task.pk)
    assert alice.get(f"{URL}/{task.pk}").json()["state"] == "cancelled"


def test_what_has_ended_is_not_cancelled(alice: Any) -> None:
    pool = build.a_pool()
    task = run_to_end(a_task(), FakeAgent.of(pool))
    with nothing_written():
        answer = alice.post(f"{URL}/{task.pk}/cancel")
    assert problem_of(answer) == (409, "task_has_ended", None)
    assert answer.json()["state"] == "delivered"


def test_why_a_task_waits_is_counted_by_dimension(alice: Any) -> None:
    pool = build.a_pool()
    build.a_pool(cores=1, region="beijing")
    task = a_task(version=a_version(resources={"cores": 4, "memory_mib": 64, "disk_mib": 64}))
    Agent.objects.filter(pool=pool).update(lease_until=timezone.now() - timedelta(minutes=5))
    waiting = alice.get(f"{URL}/{task.pk}/explain").json()["waiting"]
    assert (waiting["units"], waiting["reason"]) == (1, "pools_offline")
    assert waiting["excluded"] == {"cores": 1}


def test_why_a_task_runs_where_it_runs_is_told(alice: Any) -> None:
    cheap = build.a_pool(rates={"core_second": "0.0001"})
    dear = build.a_pool(rates={"core_second": "0.01"}, region="beijing")
    task = a_task()
    run_round()
    told = alice.get(f"{URL}/{task.pk}/explain").json()
    assert told["waiting"] is None
    where = {"pool": cheap.identifier, "region": "ningxia", "stage": 0, "part": "unit", "state": "placed", "units": 1}
    assert told["where"] == [where]
    (decision,) = told["decisions"]
    assert [one["pool"] for one in decision["candidates"]] == [cheap.identifier, dear.identifier]
    assert decision["candidates"][0]["price"] < decision["candidates"][1]["price"]


@pytest.mark.parametrize("query", ["after=", "after=x", "after=9999999999"])
def test_where_events_go_on_is_a_whole_number(alice: Any, query: str) -> None:
    build.a_pool()
    task = a_task()
    assert problem_of(alice.get(f"{URL}/{task.pk}/events?{query}")) == (422, "invalid_parameter", "after")
