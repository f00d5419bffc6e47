"""Events reach the endpoints that want them, at least once, in order by subject, and whoever is down misses nothing."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketplace.models import WebhookDelivery, WebhookEndpoint, WebhookEvent, WebhookSecret, WebhookTry
from marketplace.webhooks import sending
from marketplace.webhooks.endpoints import disable, enable
from marketplace.webhooks.outbox import Event, publish
from marketplace.webhooks.replaying import forget_old, put_right, replay_deliveries, replay_since
from marketplace.webhooks.signing import new_secret, seal, signature_of, unseal
from tests.builders import alice, bob
from tests.builders_webhooks import Clock, Receiver, a_fact, an_endpoint, states, tell

pytestmark = pytest.mark.django_db
PAIRS = list(product(WebhookDelivery.MOVES, WebhookDelivery.MOVES))


def statements(work: Any) -> int:
    with CaptureQueriesContext(connection) as seen:
        work()
    return len(seen)


def test_an_event_reaches_every_endpoint_that_wants_it_and_no_other() -> None:
    for types in (("*",), ("invoice.*",), ("invoice.paid", "task.failed"), ("task.*",), ("invoice.voided",)):
        an_endpoint(types=types, url=f"https://example.com/{types[0]}")
    an_endpoint(bob())
    receiver = Receiver()
    tell()
    receiver.run()
    assert sorted(one["url"] for one in receiver.requests) == [
        "https://example.com/*", "https://example.com/invoice.*", "https://example.com/invoice.paid",
    ]  # fmt: skip
    assert states() == {"delivered": 3}


def test_what_nobody_wants_is_not_written() -> None:
    an_endpoint(bob())
    an_endpoint(types=("task.*",))
    assert publish([a_fact()]) == 0
    assert not WebhookEvent.objects.exists()


def test_a_fact_that_is_told_twice_is_sent_once() -> None:
    an_endpoint()
    fact = a_fact()
    assert publish([fact, fact]) == 1
    assert publish([fact]) == 0
    receiver = Receiver()
    assert receiver.run() == 1


def test_two_organizations_may_be_told_of_the_same_fact() -> None:
    an_endpoint(alice())
    an_endpoint(bob())
    fact = a_fact()
    publish([fact, Event(bob().organization.pk, fact.type, fact.subject, {}, fact.occurred_at, fact.key)])
    assert WebhookEvent.objects.count() == 2


def test_publishing_takes_one_statement_however_many_facts_and_none_for_none() -> None:
    an_endpoint()
    assert statements(lambda: publish([])) == 0
    for count in (1, 100):
        facts = [a_fact(subject=f"invoice/{n}") for n in range(count)]
        assert statements(lambda facts=facts: publish(facts)) == 1
    assert WebhookDelivery.objects.count() == 101


def test_what_is_rolled_back_is_not_told() -> None:
    an_endpoint()
    with pytest.raises(RuntimeError), transaction.atomic():
        tell()
        raise RuntimeError
    assert Receiver().run() == 0


@pytest.mark.parametrize(
    "changes", [{"kind": "tasks.delivered"}, {"kind": "task"}, {"subject": ""}, {"subject": "x" * 121}], ids=lambda one: str(one)
)
def test_what_is_no_event_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no event"):
        publish([a_fact(**changes)])


def test_the_request_is_signed_as_the_standard_says() -> None:
    endpoint = an_endpoint()
    (number,) = tell()
    receiver = Receiver()
    receiver.run()
    (request,) = receiver.requests
    headers, event = request["headers"], WebhookEvent.objects.get()
    secret = unseal(endpoint.secrets.get().sealed)
    assert secret is not None
    assert headers["webhook-id"] == str(event.id)
    assert headers["webhook-signature"] == signature_of(secret, str(event.id), int(headers["webhook-timestamp"]), request["raw"])
    assert request["body"]["type"] == "invoice.paid"
    assert request["body"]["data"] == {"n": number}
    assert request["body"]["timestamp"] == f"{event.occurred_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert headers["x-request-id"] == str(WebhookTry.objects.get().request_id)


def test_a_rotated_secret_signs_along_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    endpoint = an_endpoint()
    endpoint.secrets.update(expires_at=clock.at + timedelta(hours=1))
    WebhookSecret.objects.create(endpoint=endpoint, sealed=seal(new_secret()))
    counts = []
    for _ in range(2):
        receiver = Receiver()
        tell()
        receiver.run()
        counts.append(len(receiver.requests[0]["headers"]["webhook-signature"].split(" ")))
        clock.forward(hours=1)
    assert counts == [2, 1]


def test_a_secret_that_cannot_be_read_any_more_is_an_error_that_says_so(settings: Any) -> None:
    an_endpoint()
    tell()
    settings.SECRET_KEY = "another" * 10
    receiver = Receiver()
    receiver.run()
    assert receiver.requests == []
    assert WebhookTry.objects.get().error == "secret_lost"


def test_a_receiver_that_is_down_for_a_day_misses_nothing_and_gets_it_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    endpoint = an_endpoint()
    receiver = Receiver(down=True)
    told: dict[str, list[int]] = {"invoice/1": [], "invoice/2": []}
    for hour in range(24):
        for subject, numbers in told.items():
            if hour % (2 if subject == "invoice/1" else 3) == 0:
                numbers += tell(subject)
        receiver.run()
        clock.forward(hours=1)
    assert states() == {"pending": 20}
    receiver.down = False
    for _ in range(8):
        receiver.run()
        clock.forward(minutes=10)
    assert states() == {"delivered": 20}
    by_subject = {name: [number for number in receiver.numbers if number in numbers] for name, numbers in told.items()}
    assert by_subject == told
    endpoint.refresh_from_db()
    assert (endpoint.disabled_at, endpoint.failing_since) == (None, None)


def test_one_subject_does_not_wait_for_another() -> None:
    an_endpoint()
    bad = tell("invoice/1", times=2)
    good = tell("invoice/2", times=2)
    receiver = Receiver(status=lambda body: 500 if body["data"]["n"] in bad else 200)
    receiver.run()
    assert [number for number in receiver.numbers if number in good] == good
    assert bad[1] not in receiver.numbers, "it waits for the one before"
    assert states() == {"delivered": 2, "pending": 2}


def test_a_poisoned_event_is_given_up_after_a_day_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    endpoint = an_endpoint()
    bad, good = tell(times=2)
    receiver = Receiver(status=lambda body: 500 if body["data"]["n"] == bad else 200)
    for _ in range(26 * 3):
        receiver.run()
        clock.forward(minutes=20)
    assert states() == {"given_up": 1, "delivered": 1}
    assert receiver.numbers[-1] == good
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is None


def test_an_endpoint_that_nothing_reaches_for_three_days_is_turned_off_with_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    dead = an_endpoint(types=("invoice.*",), url="https://dead.example/")
    other = an_endpoint(types=("webhook.*",), url="https://other.example/")
    receiver = Receiver(status=lambda body: 200 if body["type"] == "webhook.disabled" else 500)
    for hours in range(0, 80, 4):
        if hours % 8 == 0:
            tell(f"invoice/{hours}")
        receiver.run()
        clock.forward(hours=4)
    dead.refresh_from_db()
    assert dead.disabled_at is not None
    assert dead.disabled_because.startswith("nothing has reached it since")
    notices = [one["body"] for one in receiver.requests if one["body"]["type"] == "webhook.disabled"]
    assert [one["data"]["endpoint"] for one in notices] == [str(dead.pk)]
    other.refresh_from_db()
    assert other.disabled_at is None


def test_410_turns_an_endpoint_off_and_what_happens_then_waits_until_it_is_on_again() -> None:
    endpoint = an_endpoint()
    first, *_ = tell()
    Receiver(status=410).run()
    endpoint.refresh_from_db()
    assert endpoint.disabled_because == "it answered 410 Gone"
    later = tell(times=3)
    receiver = Receiver()
    assert receiver.run() == 0
    assert enable([endpoint.pk]) == 1
    receiver.run()
    assert receiver.numbers == later, "the one that was given up stays so, until somebody replays it"
    assert replay_since(endpoint, timezone.now() - timedelta(hours=1), failed_only=True) == 1
    receiver.run()
    assert receiver.numbers[-1] == first


def test_turning_off_stops_what_is_due_and_leaves_what_is_under_way() -> None:
    endpoint = an_endpoint()
    tell("invoice/1")
    (under_way,) = sending.claim(1)
    tell("invoice/2")
    assert disable([endpoint.pk]) == 1
    assert sending.claim(5) == []
    sending.record([sending.send(under_way, timezone.now(), Receiver())])
    assert states() == {"delivered": 1, "pending": 1}


def test_slow_and_failing_endpoints_take_half_the_places_at_most() -> None:
    for number in range(sending.PLACES):
        an_endpoint(url=f"https://slow-{number}.example/", troubled=True)
    tell("invoice/1")
    good = an_endpoint(bob())
    publish([a_fact(bob(), subject=f"payout/{n}", kind="payout.paid") for n in range(10)])
    taken = sending.claim(sending.PLACES)
    assert sum(one.troubled for one in taken) == sending.TROUBLED
    assert sum(one.endpoint == good.pk for one in taken) == sending.EACH
    assert sending.claim(sending.PLACES, troubled=0) == [], "of one endpoint no more than it may be asked at once"


def test_an_endpoint_in_trouble_is_asked_one_thing_at_a_time() -> None:
    an_endpoint(troubled=True)
    for number in range(5):
        tell(f"invoice/{number}")
    assert len(sending.claim(16)) == 1
    assert sending.claim(16) == []


def test_a_slow_answer_makes_trouble_and_a_quick_one_ends_it() -> None:
    endpoint = an_endpoint()
    for ms, troubled in ((sending.SLOW_MS + 1, True), (5, False)):
        tell()
        (one,) = sending.claim(1)
        told = sending.send(one, timezone.now(), Receiver())
        sending.record([sending.Told(one, told.request, told.at, ms, told.answer)])
        endpoint.refresh_from_db()
        assert endpoint.troubled is troubled


def test_a_sender_that_died_leaves_a_claim_that_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    an_endpoint()
    tell()
    (lost,) = sending.claim(1)
    assert sending.claim(1) == []
    clock.forward(seconds=121)
    receiver = Receiver()
    assert receiver.run() == 1
    assert states() == {"delivered": 1}
    sending.record([sending.Told(lost, lost.message, clock.at, 5, None, "timed_out", "late")])
    assert states() == {"delivered": 1}, "an answer to a claim that somebody else took over decides nothing"
    assert WebhookTry.objects.count() == 2, "but stands in the log"


def test_recording_takes_as_many_statements_for_one_answer_as_for_many() -> None:
    for number in range(16):
        an_endpoint(url=f"https://example.com/{number}")
    counts = []
    for free in (1, 15):
        tell(f"invoice/{free}")
        taken = sending.claim(free)
        assert len(taken) == free
        told = [sending.send(one, timezone.now(), Receiver()) for one in taken]
        counts.append(statements(lambda told=told: sending.record(told)))
    assert counts[0] == counts[1]
    assert counts[1] <= 8


def test_the_log_keeps_the_first_kilobyte_and_no_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    an_endpoint()
    tell()
    (one,) = sending.claim(1)
    answer = sending.Answer(500, {}, b"\xff\x00" + b"x" * 1022)
    sending.record([sending.send(one, timezone.now(), lambda *_, **__: answer)])
    kept = WebhookTry.objects.get()
    assert (kept.status, kept.number, kept.answer) == (500, 1, "\ufffd\ufffd" + "x" * 1022)
    assert WebhookDelivery.objects.get().status == 500


def test_a_delivery_can_be_replayed_and_tried_now() -> None:
    an_endpoint()
    (number,) = tell()
    receiver = Receiver()
    receiver.run()
    delivery = WebhookDelivery.objects.get()
    assert replay_deliveries([delivery.pk]) == 1
    receiver.run()
    assert receiver.numbers == [number, number]
    assert len({one["headers"]["webhook-id"] for one in receiver.requests}) == 1, "the same event, so the same id"
    assert replay_deliveries([10**9]) == 0


def test_a_replayed_delivery_has_a_whole_day_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    an_endpoint()
    tell()
    receiver = Receiver(down=True)
    for _ in range(26):
        receiver.run()
        clock.forward(hours=1)
    assert states() == {"given_up": 1}
    replay_deliveries([WebhookDelivery.objects.get().pk])
    receiver.run()
    delivery = WebhookDelivery.objects.get()
    assert delivery.state == "pending"
    assert delivery.due_at - clock.at <= timedelta(seconds=5), "and short pauses again"


def test_all_since_a_moment_comes_in_the_order_of_the_events_even_from_before_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    first = an_endpoint(url="https://first.example/")
    old = tell(times=1)
    clock.forward(hours=1)
    since = clock.at
    before = tell(times=2)
    second = an_endpoint(url="https://second.example/")
    after = tell(times=2)
    receiver = Receiver()
    assert replay_since(second, since) == 2
    receiver.run()
    second_got = [r["body"]["data"]["n"] for r in receiver.requests if r["url"] == second.url]
    assert second_got == before + after
    receiver.requests.clear()
    assert replay_since(first, since) == 4
    receiver.run()
    assert receiver.numbers == before + after
    assert old[0] not in receiver.numbers


def test_what_a_race_left_late_is_put_right(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    an_endpoint()
    tell(times=2)
    WebhookDelivery.objects.update(due_at=clock.at + timedelta(hours=1))
    assert put_right() == 1
    assert Receiver().run() == 2


def test_what_comes_behind_a_failing_one_is_not_looked_at_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock.stopped(monkeypatch)
    an_endpoint()
    tell(times=2)
    Receiver(down=True).run()
    tell()
    dues = set(WebhookDelivery.objects.values_list("due_at", flat=True))
    assert len(dues) == 1


def test_an_endpoint_that_comes_back_is_sent_at_once_what_had_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    an_endpoint()
    for number in range(4):
        tell(f"invoice/{number}")
    receiver = Receiver(down=True)
    for _ in range(30):
        receiver.run()
        clock.forward(minutes=30)
    receiver.down = False
    clock.forward(minutes=-30)
    (soonest, *_) = WebhookDelivery.objects.order_by("due_at").values_list("due_at", flat=True)
    clock.at = max(clock.at, soonest)
    receiver.run()
    assert states() == {"delivered": 4}


def test_old_events_are_forgotten_with_all_of_theirs_unless_they_are_still_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock.stopped(monkeypatch)
    an_endpoint()
    tell("invoice/sent")
    Receiver().run()
    tell("invoice/open")
    Receiver(down=True).run()
    clock.forward(days=31)
    tell("invoice/new")
    assert forget_old()["webhook_events"] == 1
    assert sorted(WebhookEvent.objects.values_list("subject", flat=True)) == ["invoice/new", "invoice/open"]
    WebhookEndpoint.objects.update(disabled_at=clock.at)
    assert forget_old()["webhook_events"] == 1
    assert WebhookTry.objects.count() == 0


@pytest.mark.parametrize(("old", "new"), PAIRS, ids=[f"{old}-{new}" for old, new in PAIRS])
def test_a_delivery_moves_along_the_arrows_and_nowhere_else(old: str, new: str) -> None:
    an_endpoint()
    tell()
    event, endpoint, now = WebhookEvent.objects.get(), WebhookEndpoint.objects.get(), timezone.now()
    WebhookDelivery.objects.all().delete()
    ended = {state: None if state in ("pending", "sending") else now for state in WebhookDelivery.MOVES}
    row = WebhookDelivery.objects.create(
        event=event, endpoint=endpoint, subject="s", state=old, tries=1, first_tried_at=now, due_at=now, ended_at=ended[old]
    )
    allowed = old == new or new in WebhookDelivery.MOVES[old]
    expected = nullcontext() if allowed else pytest.raises(IntegrityError, match="may not become")
    with expected, transaction.atomic():
        WebhookDelivery.objects.filter(pk=row.pk).update(state=new, ended_at=ended[new])


def test_every_state_has_its_arrows_and_arrows_lead_to_states() -> None:
    states_there = {choice.value for choice in WebhookDelivery.State}
    assert set(WebhookDelivery.MOVES) == states_there == set().union(*WebhookDelivery.MOVES.values())


@pytest.mark.parametrize("model", [WebhookEvent, WebhookTry])
def test_what_was_told_and_what_was_logged_never_change(model: Any) -> None:
    an_endpoint()
    tell()
    Receiver().run()
    row = model.objects.get()
    with pytest.raises(IntegrityError, match="never change"), transaction.atomic():
        row.save()
