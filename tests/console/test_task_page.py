"""One task's page: where it is, why there, why it waits, what went wrong, what it printed, what it costs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from console import reads
from marketplace.models import Task
from scheduler.models import Attempt, LogChunk
from scheduler.services.advancing import advance_task
from scheduler.services.placing import run_round
from scheduler.services.predicting import predict_task
from tests import builders as build
from tests.admin.market import a_settled_task
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.builders_trust import WRONG, a_checked_version, agents_of, owners_pools, take_turns
from tests.console.browser import a_file, browser_of, text_of

pytestmark = pytest.mark.django_db


def page_of(task: Task, person: build.Person | None = None) -> Any:
    return browser_of(person or build.alice()).get(f"/tasks/{task.pk}/")


def at_work(units: int = 2, **manifest: Any) -> tuple[Task, FakeAgent]:
    agent = FakeAgent.of(build.a_pool())
    task = a_task(version=a_version(**manifest), inputs={"count": units})
    run_round()
    agent.beat(want=units)
    return Task.objects.get(pk=task.pk), agent


def test_a_running_task_listens_to_its_events_and_can_be_cancelled() -> None:
    task, _ = at_work()
    page = page_of(task).content.decode()
    last = task.events.latest("seq").seq
    assert f'data-events="/api/v1/tasks/{task.pk}/events?after={last}"' in page
    assert 'data-settled="no"' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert "Cancel task" in page
    assert "Cancel task" not in page_of(task, build.alice("viewer")).content.decode()


def test_a_settled_task_stands_still() -> None:
    task = a_settled_task()
    page = page_of(task).content.decode()
    assert 'data-settled="yes"' in page
    assert "noscript" not in page
    assert "Cancel task" not in page


def test_units_are_shown_where_they_run_and_why_there() -> None:
    task, agent = at_work()
    page = text_of(page_of(task))
    assert f"{agent.agent.pool.identifier} ningxia unit leased 2" in page
    assert f"unit: 2 to {agent.agent.pool.identifier}, decided just now" in page
    assert "Candidate" in page


def test_what_was_predicted_stands_beside_what_came() -> None:
    agent = FakeAgent.of(build.a_pool())
    task = a_task(version=a_version(demand={"tflop": "0.125"}))
    predict_task(task.pk)
    page = text_of(page_of(task))
    assert "Predicted and actual" in page
    assert re.search(r"Result\s+10\.\d s", page)
    assert "No task has been delivered yet" in page
    run_to_end(task, agent)
    assert "Of the last 1 results 100% came within" in text_of(page_of(task))


def test_a_task_that_waits_says_why_and_whom_it_left_out() -> None:
    build.a_pool(agent=False)
    page = text_of(page_of(a_task()))
    assert "1 unit waiting: pools offline" in page
    assert "its agent has not been heard of" in page


def test_attempts_that_failed_are_shown_with_their_reason() -> None:
    task, agent = at_work(1)
    agent.failed("capability_error", exit_code=3, detail="no such scene")
    page = text_of(page_of(task))
    assert "capability error" in page
    assert "exit code 3 no such scene" in page


def test_a_failed_task_says_why() -> None:
    task, agent = at_work(1, retry={"max_attempts": 1, "window_s": 60, "capability_error": False})
    agent.failed("capability_error", detail="no such scene")
    advance_task(task.pk)
    page = text_of(page_of(task))
    assert task_state(task) == "failed"
    assert "capability error" in page.split("Inputs")[0]


def task_state(task: Task) -> str:
    return Task.objects.get(pk=task.pk).state


def test_the_tail_of_the_log_is_the_newest_and_says_where_it_comes_from() -> None:
    task, _ = at_work(2)
    first, second = Attempt.objects.filter(task=task).order_by("unit__index")
    for attempt, data in ((first, b"one\n"), (first, b"two \xff\n"), (second, b"three\n")):
        offset = sum(len(chunk.data) for chunk in attempt.log_chunks.all())
        LogChunk.objects.create(attempt=attempt, stream="stdout", offset=offset, data=data)
    assert reads.log_tail(task) == "── unit 0, stdout ──\none\ntwo \ufffd\n\n── unit 1, stdout ──\nthree"
    LogChunk.objects.create(attempt=second, stream="stderr", offset=0, data=b"x" * 20_000 + b"the end")
    assert reads.log_tail(task).endswith("the end")
    assert len(reads.log_tail(task)) == 12_000
    assert "the end" in text_of(page_of(task))


def test_pictures_are_shown_films_are_played_and_everything_is_downloaded() -> None:
    task, agent = at_work(1, outputs=[{"path": "**"}])
    files = [a_file("sheet one.png", b"png", "image/png"), a_file("video.mp4", b"mp4", "video/mp4")]
    agent.done(outputs=[*files, a_file("evil.html", b"<b>", "text/html"), a_file("evil.svg", b"<svg>", "image/svg+xml")])
    advance_task(task.pk)
    client = browser_of(build.alice())
    page = client.get(f"/tasks/{task.pk}/").content.decode()
    base = f"/api/v1/tasks/{task.pk}/result/files"
    assert page.count("<img") == page.count("<video") == 1
    assert f'src="{base}/sheet%20one.png"' in page
    assert f'src="{base}/video.mp4"' in page
    for name, content in (("sheet%20one.png", b"png"), ("evil.html", b"<b>")):
        assert f'href="{base}/{name}" download' in page
        answer: Any = client.get(f"{base}/{name}")
        assert b"".join(answer.streaming_content) == content
        assert answer["Content-Disposition"].startswith("attachment")


def test_charges_are_for_those_who_may_read_bills() -> None:
    task = a_settled_task()
    page = text_of(page_of(task, build.alice("billing")))
    assert "How it was computed" in page
    assert "1.00 publisher fee × 0.01" in page
    assert "How it was computed" not in text_of(page_of(task, build.alice("viewer")))


def test_cancelling_is_a_wish_that_is_granted_once_nothing_runs() -> None:
    task, agent = at_work()
    client = browser_of(build.alice())
    assert client.post(f"/tasks/{task.pk}/cancel/")["Location"] == f"/tasks/{task.pk}/"
    assert "Cancelling" in text_of(page_of(task))
    agent.done()
    advance_task(task.pk)
    assert task_state(task) == "cancelled"


def test_an_ended_task_cannot_be_cancelled() -> None:
    task = a_settled_task()
    answer = browser_of(build.alice()).post(f"/tasks/{task.pk}/cancel/")
    assert (answer.status_code, "the task is delivered already" in text_of(answer)) == (409, True)


def test_a_task_whose_results_are_compared_says_how_and_who_was_wrong() -> None:
    pools = owners_pools("bob", "erin", "dave")
    task = take_turns(a_task(version=a_checked_version()), agents_of(pools), {"bob": WRONG})
    page = text_of(page_of(task))
    assert "2 of different owners must agree (exact); trusted pools are spot-checked" in page
    assert "1 valid" in page
    assert "outvoted" in page or "invalid" not in page
    assert "must agree" not in text_of(page_of(a_settled_task()))
