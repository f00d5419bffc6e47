"""Two senders at once, each with a control that shows what the guard is for."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from marketplace.models import WebhookDelivery
from marketplace.webhooks import sending, sql
from marketplace.webhooks.background import Background
from tests.builders_receiver import HttpReceiver, listening
from tests.builders_webhooks import Receiver, an_endpoint, states, tell
from tests.scheduler.meanwhile import Running, stopped_after, until_somebody_waits

HERE = sys.modules[__name__]
pytestmark = pytest.mark.django_db(transaction=True)


def claimed_in_a_transaction(free: int) -> list[sending.Claimed]:
    with transaction.atomic():
        return took(sending.claim(free))


def took(claimed: list[sending.Claimed]) -> list[sending.Claimed]:
    """Where a test stops the first claim before its commit."""
    return claimed


def test_two_that_claim_at_once_take_no_delivery_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint()
    for number in range(4):
        tell(f"invoice/{number}")
    with stopped_after(monkeypatch, HERE, "took", lambda: claimed_in_a_transaction(2)) as first:
        second = Running(lambda: sending.claim(4)).start()
        assert len(second.result) == 2, "it does not wait"
    taken = {one.id for one in second.result}, {one.id for one in first.result}
    assert not taken[0] & taken[1]
    assert len(taken[0] | taken[1]) == 4
    assert set(WebhookDelivery.objects.values_list("tries", flat=True)) == {1}


def test_control_without_skipping_and_guard_the_second_takes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint()
    for number in range(2):
        tell(f"invoice/{number}")
    unguarded = sql.CLAIM.replace(" FOR NO KEY UPDATE OF d SKIP LOCKED", "")
    monkeypatch.setattr(sql, "CLAIM", unguarded)
    with stopped_after(monkeypatch, HERE, "took", lambda: claimed_in_a_transaction(2)) as first:
        second = Running(lambda: sending.claim(2)).start()
        until_somebody_waits()
    assert {one.id for one in second.result} == {one.id for one in first.result}
    assert set(WebhookDelivery.objects.values_list("tries", flat=True)) == {2}


def test_while_the_first_of_a_subject_is_claimed_nobody_takes_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint()
    tell(times=2)
    with stopped_after(monkeypatch, HERE, "took", lambda: claimed_in_a_transaction(1)) as first:
        assert Running(lambda: sending.claim(4)).start().result == []
    assert len(first.result) == 1
    assert sending.claim(4) == []


def test_two_that_record_answers_of_one_endpoint_do_not_lock_each_other_out() -> None:
    for number in range(3):
        an_endpoint(url=f"https://example.com/{number}")
    for number in range(8):
        tell(f"invoice/{number}")
    taken = sending.claim(12)
    told = [sending.send(one, timezone.now(), Receiver(status=500)) for one in taken]
    barrier = threading.Barrier(2)
    halves = [Running(lambda half=half: sending.record(half), barrier).start() for half in (told[::2], told[1::2][::-1])]
    assert [half.result for half in halves] == [None, None]
    assert states() == {"pending": 24}


def test_a_slow_receiver_does_not_hold_up_another(settings: Any) -> None:
    settings.WEBHOOK_PRIVATE = True
    let_go = threading.Event()
    arrived: list[int] = []

    def answer(path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/slow":
            let_go.wait(10)
        else:
            arrived.append(1)
            if len(arrived) == 40:
                let_go.set()  # so the slow one hears an answer only after all of the others are done
        return 200, {}, b""

    with listening(HttpReceiver(answer)) as receiver:
        an_endpoint(url=f"{receiver.url}/slow")
        an_endpoint(url=f"{receiver.url}/quick")
        for number in range(40):
            tell(f"invoice/{number}")
        background = Background()
        background.start()
        assert let_go.wait(10)
        thread = background.thread
        background.start()
        if thread is not None:
            thread.join(20)
    assert states() == {"delivered": 80}
