"""A receiver on this machine is told of a task's end and of its final cost by the running platform."""

from __future__ import annotations

import time
from collections.abc import Callable

from gridfare.webhooks import verify_webhook
from tests.builders_receiver import HttpReceiver, listening

from .market import Market


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)


def test_a_task_tells_of_its_end_and_then_of_its_cost_through_an_outage_of_the_receiver(market: Market) -> None:
    answers = iter([503])
    with listening(HttpReceiver(lambda path, body: (next(answers, 200), {}, b"thanks"))) as receiver:
        hook = market.alice.create_webhook(f"{receiver.url}/hook", ["task.*"])
        try:
            task = market.ended(market.run(["true"])["id"])
            until(lambda: len(receiver.requests) >= 3)
            events = [verify_webhook(headers, body, hook["secret"]) for _, headers, body in receiver.requests]
            until(lambda: market.alice.webhook(hook["id"])["failing_since"] is None)
            deliveries = list(market.alice.webhook_deliveries(hook["id"]))
        finally:
            market.alice.delete_webhook(hook["id"])
    assert [event["type"] for event in events] == ["task.delivered", "task.delivered", "task.settled"]
    assert {event["data"]["id"] for event in events} == {task["id"]}
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert ids[0] == ids[1] != ids[2]
    assert [one["state"] for one in deliveries] == ["delivered", "delivered"]
    assert events[2]["data"]["cost"]["final"] is True
