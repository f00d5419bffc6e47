"""Handing in, waiting, events, logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gridfare.client import Client
from gridfare.sdk import errors
from gridfare.sdk.answers import Task
from gridfare.sdk.events import parse_stream
from tests.client.platform import Fault, Platform


def test_a_submit_whose_answer_was_lost_makes_one_task(platform: Platform, client: Client) -> None:
    platform.faults.append(Fault("POST .*/tasks", "lost"))
    task = client.submit("gridfare/render", {"frames": 2})
    assert list(platform.tasks) == [task["id"]]
    assert platform.calls.count("POST /api/v1/tasks") == 2


def test_two_submits_make_two_tasks_and_one_key_makes_one(platform: Platform, client: Client) -> None:
    client.submit("gridfare/render")
    first = client.submit("gridfare/render", idempotency_key="mine")
    assert client.submit("gridfare/render", idempotency_key="mine")["id"] == first["id"]
    assert len(platform.tasks) == 2
    with pytest.raises(errors.Refused) as caught:
        client.submit("gridfare/train", idempotency_key="mine")
    assert caught.value.code == "idempotency_mismatch"


def test_everything_that_was_asked_for_is_sent(client: Client) -> None:
    task = client.submit(
        "gridfare/render",
        {"frames": 2},
        name="flight",
        objective="fastest",
        regions=["ningxia"],
        providers=["west"],
        exclude_providers=["mallory"],
        max_price=5,
        deadline=datetime(2031, 1, 1, tzinfo=UTC),
        labels={"film": "one"},
    )
    assert (task["name"], task["objective"], task["labels"]) == ("flight", "fastest", {"film": "one"})
    assert task["constraints"] == {
        "regions": ["ningxia"],
        "providers": ["west"],
        "exclude_providers": ["mallory"],
        "max_price": "5",
    }
    assert task["deadline"] == "2031-01-01T00:00:00Z"


def test_a_deadline_may_count_from_now(client: Client) -> None:
    deadline = client.submit("gridfare/render", deadline=timedelta(hours=2))["deadline"]
    assert deadline is not None
    assert timedelta(0) < datetime.fromisoformat(deadline) - datetime.now(UTC) <= timedelta(hours=2)


@pytest.mark.parametrize("end", ["delivered", "failed", "cancelled", "expired"])
def test_waiting_ends_with_the_task(platform: Platform, client: Client, end: str) -> None:
    platform.states = ["queued", "running", "running", end]
    seen: list[str] = []

    def look(task: Task) -> None:
        seen.append(task["state"])

    assert client.wait(client.submit("gridfare/render")["id"], on_change=look)["state"] == end
    assert seen == ["queued", "running", "running", end]


def test_waiting_has_an_end_of_its_own(client: Client) -> None:
    task = client.submit("gridfare/render")
    with pytest.raises(errors.WaitTimeout) as caught:
        client.wait(task["id"], 0.05)
    assert caught.value.task["id"] == task["id"]


def test_events_come_in_order_and_after_a_number(client: Client) -> None:
    task = client.submit("gridfare/render")["id"]
    assert [event["seq"] for event in client.events(task)] == [1, 2, 3, 4]
    assert [event["seq"] for event in client.events(task, after=2)] == [3, 4]


def test_followed_events_survive_cuts_without_gap_or_repeat(platform: Platform, client: Client) -> None:
    platform.states = ["running"] * 3 + ["delivered"]
    task = client.submit("gridfare/render")["id"]
    platform.faults.append(Fault("GET .*/events", "cut", times=1, at=170))
    platform.faults.append(Fault("GET .*/events", "drop", times=1))
    platform.faults.append(Fault("GET .*/events", 503, times=1))
    assert [event["seq"] for event in client.events(task, follow=True)] == [1, 2, 3, 4]
    assert sum("/events" in call for call in platform.calls) >= 4


def test_a_stream_is_parsed_as_the_standard_says() -> None:
    text = ': hello\n\nid: 1\nevent: placed\ndata: {"seq": 1,\ndata: "kind": "placed"}\n\nevent: end\ndata: {}\n\ndata: {"se'
    assert list(parse_stream(text.split("\n"))) == [{"seq": 1, "kind": "placed"}]


def test_logs_are_read_to_their_end(platform: Platform, client: Client) -> None:
    task = client.submit("gridfare/render")["id"]
    assert len(list(client.logs(task))) == 4
    assert [chunk["text"] for chunk in client.logs(task, unit=1)] == ["frame 1 done\n"]


def test_followed_logs_get_what_is_written_meanwhile(platform: Platform, client: Client) -> None:
    task, texts = client.submit("gridfare/render")["id"], list[str]()
    for chunk in client.logs(task, follow=True):
        texts.append(chunk["text"])
        if len(texts) == 4:
            platform.logs[task].append(chunk | {"text": "the last word\n"})
            platform.deliver(task, {})
    assert texts[-1] == "the last word\n"
    assert len(texts) == 5


def test_cancelling_is_a_wish(client: Client) -> None:
    assert client.cancel(client.submit("gridfare/render")["id"])["cancel_requested"] is True
