"""Tasks tell how they end and when their cost is final, in the transaction of the fact, and pay next to nothing for it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from billing.services import charge_task
from marketplace.models import WebhookEvent
from marketplace.webhooks.types import TASK_DATA, declared
from metering.services import measure
from scheduler.services.advancing import Ending, cancel_task, end_task
from scheduler.services.events import ENDS
from tests.builders import a_pool, alice, bob
from tests.builders_tasks import FakeAgent, a_task, a_version, run_to_end
from tests.builders_webhooks import Receiver, an_endpoint

pytestmark = pytest.mark.django_db


def told(receiver: Receiver) -> list[tuple[str, dict[str, Any]]]:
    return [(one["body"]["type"], one["body"]["data"]) for one in receiver.requests]


def test_a_task_tells_that_it_was_delivered_and_then_that_it_is_settled() -> None:
    an_endpoint()
    an_endpoint(bob())
    agent = FakeAgent.of(a_pool())
    task = run_to_end(a_task(inputs={"count": 3}, name="three", labels={"project": "may"}), agent)
    measure()
    charge_task(task.pk)
    receiver = Receiver()
    assert receiver.run() == 2
    (delivered, first), (settled, second) = told(receiver)
    assert (delivered, settled) == ("task.delivered", "task.settled")
    assert set(first) == set(TASK_DATA) | {"files", "result_hash"}
    assert (first["id"], first["name"], first["labels"], first["state"]) == (str(task.pk), "three", {"project": "may"}, "delivered")
    assert first["units_done"] == first["units_total"] == 3
    assert first["capability"] == str(task.capability_version)
    task.refresh_from_db()
    cost = {"amount": f"{task.cost_micros / 1_000_000:.6f}", "currency": "CNY", "final": True}
    assert set(second) == set(TASK_DATA)
    assert second["cost"] == cost
    assert {event.subject for event in WebhookEvent.objects.all()} == {f"task/{task.pk}"}


def test_a_failed_and_a_cancelled_task_tell_why() -> None:
    an_endpoint(types=("task.failed", "task.cancelled"))
    a_pool()
    failed, cancelled = a_task(), a_task()
    end_task(failed.pk, "failed", Ending("capability_error", "unit 7: exit code 1"))
    cancel_task(cancelled.pk)
    receiver = Receiver()
    receiver.run()
    by_task = {data["id"]: (kind, data["state"], data["reason_class"], data["reason"]) for kind, data in told(receiver)}
    assert by_task[str(failed.pk)] == ("task.failed", "failed", "capability_error", "unit 7: exit code 1")
    assert by_task[str(cancelled.pk)][:3] == ("task.cancelled", "cancelled", "user_cancel")


def test_every_end_of_a_task_is_a_declared_type() -> None:
    assert {*ENDS, "task.settled"} == {one.name for one in declared() if one.name.startswith("task.")}


def test_an_end_that_is_rolled_back_is_not_told() -> None:
    an_endpoint()
    a_pool()
    task = a_task()
    with transaction.atomic():
        cancel_task(task.pk)
        transaction.set_rollback(True)
    assert Receiver().run() == 0


def test_without_an_endpoint_an_end_costs_one_statement_that_reads_next_to_nothing() -> None:
    an_endpoint(bob())
    a_pool()
    task = a_task(version=a_version())
    with CaptureQueriesContext(connection) as seen:
        cancel_task(task.pk)
    ours = [one["sql"] for one in seen if "marketplace_webhookdelivery" in one["sql"]]
    assert len(ours) == 1
    assert not WebhookEvent.objects.filter(organization=alice().organization).exists()
