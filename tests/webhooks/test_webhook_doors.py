"""The doors: API, command line, SDK and pages of operators; who may, and every bad input."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from gridfare.client import Client
from gridfare.webhooks import WebhookRefused, verify_webhook
from marketplace.models import WebhookDelivery, WebhookEndpoint, WebhookSecret
from marketplace.webhooks.endpoints import MOST_ENDPOINTS, MOST_SECRETS
from marketplace.webhooks.outbox import publish
from marketplace.webhooks.signing import signature_of, signed_headers
from marketplace.webhooks.types import declared
from tests.admin.market import operator, page_of
from tests.builders import a_key, alice, bob, client_of, mallory
from tests.builders_receiver import HttpReceiver, listening
from tests.builders_webhooks import Receiver, a_fact, an_endpoint, send_due, states, tell
from tests.command_line import Say, speaker

pytestmark = pytest.mark.django_db
DOCS = Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"
URL = "https://example.com/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the shared test vector of Standard Webhooks
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
BODY = b'{"test": 2432232314}'


@pytest.fixture
def say(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Say:
    return speaker(live_server, monkeypatch, "webhook")


def test_a_webhook_is_made_changed_rotated_and_deleted_and_its_secret_shown_once() -> None:
    client = client_of(alice())
    made = client.post("/api/v1/webhooks", {"url": URL, "types": ["task.delivered", "invoice.*"]})
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    path = f"/api/v1/webhooks/{made.json()['id']}"
    assert made.json()["secret"] not in client.get(path).content.decode() + client.get("/api/v1/webhooks").content.decode()
    changed = client.patch(path, {"enabled": False, "types": ["*"], "description": "off"}).json()
    assert (changed["enabled"], changed["types"], changed["description"], changed["disabled_because"]) == (False, ["*"], "off", "")
    assert client.patch(path, {"enabled": True}).json()["enabled"] is True
    rotated = client.post(f"{path}/rotate", {"overlap_hours": 1}).json()
    assert (rotated["secrets"], rotated["secret"] == made.json()["secret"]) == (2, False)
    assert client.post(f"{path}/rotate", {"overlap_hours": 0}).json()["secrets"] == 1
    assert client.delete(path).status_code == 204
    assert client.get(path).json()["code"] == "webhook_unknown"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_input", "url"),
        ({"url": "http://example.com/"}, "webhook_url_refused", "url"),
        ({"url": "https://169.254.169.254/"}, "webhook_url_refused", "url"),
        ({"url": "https://localhost/"}, "webhook_url_refused", "url"),
        ({"url": " https://example.com"}, "webhook_url_refused", "url"),
        ({"url": "https://example.com/" + "x" * 500}, "invalid_input", "url"),
        ({"url": URL, "types": []}, "invalid_input", "types"),
        ({"url": URL, "types": ["task.deliverd"]}, "webhook_type_unknown", "types"),
        ({"url": URL, "types": "*"}, "invalid_input", "types"),
        ({"url": URL, "tpyes": ["*"]}, "invalid_input", "tpyes"),
        ({"url": URL, "description": "x" * 201}, "invalid_input", "description"),
        ({"url": [URL]}, "invalid_input", "url"),
    ],
)
def test_what_cannot_be_a_webhook_is_refused_and_named(body: dict[str, Any], code: str, field: str) -> None:
    told = client_of(alice()).post("/api/v1/webhooks", body)
    assert (told.status_code, told.json()["code"], told.json()["field"]) == (422, code, field)
    assert not WebhookEndpoint.objects.exists()


def test_a_change_is_checked_like_the_beginning() -> None:
    endpoint = an_endpoint()
    path, client = f"/api/v1/webhooks/{endpoint.pk}", client_of(alice())
    assert client.patch(path, {"url": "https://10.0.0.1/"}).json()["code"] == "webhook_url_refused"
    assert client.patch(path, {"types": ["nothing.*"]}).json()["code"] == "webhook_type_unknown"
    assert client.patch(path, {"enabled": "yes"}).json()["field"] == "enabled"
    assert client.post(f"{path}/rotate", {"overlap_hours": -1}).status_code == 422
    assert client.post(f"{path}/replay", {"since": "yesterday"}).json()["field"] == "since"
    assert client.post(f"{path}/replay", {}).json()["field"] == "since"


def test_there_are_bounds_on_webhooks_and_on_living_secrets() -> None:
    endpoint, client = an_endpoint(), client_of(alice())
    for _ in range(MOST_SECRETS - 1):
        assert client.post(f"/api/v1/webhooks/{endpoint.pk}/rotate", {}).status_code == 201
    assert client.post(f"/api/v1/webhooks/{endpoint.pk}/rotate", {}).json()["code"] == "too_many_secrets"
    for _ in range(MOST_ENDPOINTS - 1):
        an_endpoint()
    assert client.post("/api/v1/webhooks", {"url": URL}).json()["code"] == "too_many_webhooks"
    assert client_of(bob()).post("/api/v1/webhooks", {"url": URL}).status_code == 201


def test_a_stranger_sees_nothing_and_changes_nothing() -> None:
    endpoint = an_endpoint()
    tell()
    path, stranger = f"/api/v1/webhooks/{endpoint.pk}", client_of(mallory())
    number = WebhookDelivery.objects.get().pk
    asked = [
        stranger.get(path), stranger.patch(path, {"enabled": False}), stranger.delete(path), stranger.post(f"{path}/ping"),
        stranger.post(f"{path}/rotate", {}), stranger.get(f"{path}/deliveries"), stranger.get(f"{path}/deliveries/{number}"),
        stranger.post(f"{path}/deliveries/{number}/replay"), stranger.post(f"{path}/replay", {"since": "2026-01-01T00:00:00Z"}),
    ]  # fmt: skip
    assert {answer.status_code for answer in asked} == {404}
    assert stranger.get("/api/v1/events").json()["results"] == []
    other = an_endpoint(mallory())
    borrowed = stranger.get(f"/api/v1/webhooks/{other.pk}/deliveries/{number}")
    assert borrowed.json()["code"] == "delivery_unknown", "nor through a webhook of her own"


def test_the_log_shows_each_try_and_a_delivery_can_be_replayed_alone() -> None:
    endpoint, client = an_endpoint(), client_of(alice())
    tell(subject="invoice/1")
    tell(subject="invoice/2")
    Receiver(status=500).run()
    path = f"/api/v1/webhooks/{endpoint.pk}/deliveries"
    listed = client.get(path, {"state": "pending", "subject": "invoice/1"}).json()["results"]
    assert [(one["status"], one["tries"], one["type"]) for one in listed] == [(500, 1, "invoice.paid")]
    one = client.get(f"{path}/{listed[0]['id']}").json()
    assert [(row["number"], row["status"], row["answer"]) for row in one["log"]] == [(1, 500, "thank you")]
    assert set(one["data"]) == {"n"}
    assert client.post(f"{path}/{one['id']}/replay").status_code == 202
    receiver = Receiver()
    receiver.run()
    assert receiver.numbers == [one["data"]["n"]]
    assert client.get(path, {"state": "lost"}).status_code == 422
    assert client.get(f"{path}/{10**18}").json()["code"] == "delivery_unknown"


def test_a_ping_reaches_only_its_endpoint_and_none_that_is_off() -> None:
    an_endpoint(url="https://other.example/")
    endpoint, client = an_endpoint(types=("invoice.paid",)), client_of(alice())
    assert client.post(f"/api/v1/webhooks/{endpoint.pk}/ping").status_code == 202
    receiver = Receiver()
    receiver.run()
    assert [(one["url"], one["body"]["type"]) for one in receiver.requests] == [(endpoint.url, "webhook.ping")]
    client.patch(f"/api/v1/webhooks/{endpoint.pk}", {"enabled": False})
    assert client.post(f"/api/v1/webhooks/{endpoint.pk}/ping").json()["code"] == "webhook_disabled"


def test_events_are_read_in_order_page_by_page_and_by_type() -> None:
    an_endpoint()
    client = client_of(alice())
    numbers = tell(times=5)
    tell(kind="task.failed")
    seen, after = [], ""
    while page := client.get("/api/v1/events", {"after": after, "limit": 2, "type": "invoice.*"}).json()["results"]:
        seen += [one["data"]["n"] for one in page]
        after = client.get("/api/v1/events", {"after": after, "limit": 2, "type": "invoice.*"}).json()["after"]
    assert seen == numbers
    assert client.get("/api/v1/events", {"after": after}).json()["results"][0]["type"] == "task.failed"
    for wrong in ({"after": "7"}, {"after": "9" * 19 + "-1"}, {"after": "1-1;"}):
        assert client.get("/api/v1/events", wrong).json()["code"] == "invalid_cursor"
    assert client.get("/api/v1/events", {"limit": 0}).json()["field"] == "limit"
    assert client.get("/api/v1/events", {"type": "tasks.*"}).json()["code"] == "webhook_type_unknown"


@pytest.mark.django_db(transaction=True)
def test_the_command_line_makes_tries_and_replays_a_webhook(say: Say, settings: Any, live_server: Any) -> None:
    settings.WEBHOOK_PRIVATE = True
    with listening(HttpReceiver()) as receiver:
        made = json.loads(say("create", f"{receiver.url}/hook", "--type", "invoice.*", "--json").stdout)
        hook = made["id"]
        assert say("ping", hook, "--wait", "0").exit_code == 1, "nobody has sent it yet"
        publish([a_fact()])
        send_due()
        ((_, headers, body), _) = sorted(receiver.requests, key=lambda one: json.loads(one[2])["type"])
        assert verify_webhook(headers, body, made["secret"])["type"] == "invoice.paid"
        shown = say("deliveries", hook)
        assert "delivered" in shown.stdout
        number = json.loads(say("deliveries", hook, "--subject", "invoice/1", "--json").stdout)[0]["id"]
        assert "ok" in say("delivery", hook, str(number)).stdout
        assert "1 will be sent" in say("replay", hook, str(number)).stdout
        assert json.loads(say("replay", hook, "--since", "2026-01-01T00:00:00Z", "--json").stdout) == {"deliveries": 1}
        assert say("replay", hook).exit_code == 2
        assert "disabled" in say("change", hook, "--disable").stdout
        assert "enabled" in say("change", hook, "--enable").stdout
        assert json.loads(say("rotate", hook, "--json").stdout)["secrets"] == 2
        assert hook in say("list").stdout
        assert "task.settled" in say("types").stdout
        assert "invoice/1" in say("events").stdout
        assert say("delete", hook).exit_code == 0
        assert "no webhooks" in say("list").stdout


def test_the_command_line_checks_a_request_that_was_kept(say: Say, tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(BODY)
    words = ["--id", VECTOR["webhook-id"], "--timestamp", VECTOR["webhook-timestamp"], "--signature", VECTOR["webhook-signature"]]
    assert say("verify", str(file), *words, "--secret", SECRET).exit_code == 0
    file.write_bytes(BODY + b" ")
    assert say("verify", str(file), *words, "--secret", SECRET).exit_code == 1
    assert say("verify", str(file), *words, "--secret", "whsec_short").exit_code == 2


@pytest.mark.django_db(transaction=True)
def test_the_sdk_pings_and_waits_and_reads_events(live_server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WEBHOOK_PRIVATE = True
    monkeypatch.setattr("gridfare.sdk.webhooks.time.sleep", lambda _: send_due())
    with listening(HttpReceiver()) as receiver, Client(live_server.url, a_key(alice())) as client:
        hook = client.create_webhook(receiver.url, ["task.*"])
        assert client.ping_webhook(hook["id"], wait_s=10)["state"] == "delivered"
        page = client.organization_events()
        assert [one["type"] for one in page["results"]] == ["webhook.ping"]
        assert client.organization_events(page["after"])["results"] == []
        assert [one["id"] for one in client.webhooks()] == [hook["id"]] == [client.webhook(hook["id"])["id"]]
        assert client.replay_webhook(hook["id"], "2026-01-01T00:00:00Z", failed_only=True) == 0
        client.delete_webhook(hook["id"])


def test_a_receiver_takes_the_published_vector_and_each_of_several_secrets() -> None:
    assert verify_webhook(VECTOR, BODY, SECRET, now=1614265330) == {"test": 2432232314}
    titled = {name.title(): value for name, value in VECTOR.items()}
    assert verify_webhook(titled, BODY, ["whsec_" + "A" * 32, SECRET], now=1614265600)
    both = VECTOR | {"webhook-signature": f"v1a,zzz v1,AAAA {VECTOR['webhook-signature']}"}
    assert verify_webhook(both, BODY, SECRET, now=1614265330)


@pytest.mark.parametrize(
    ("changes", "body", "now", "code"),
    [
        ({"webhook-signature": "v1,AAAA"}, BODY, 0, "signature_invalid"),
        ({"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}, BODY, 0, "signature_invalid"),
        ({"webhook-signature": "v1,é"}, BODY, 0, "signature_invalid"),
        ({"webhook-id": "msg_another"}, BODY, 0, "signature_invalid"),
        ({"webhook-timestamp": "1614265331"}, BODY, 0, "signature_invalid"),
        ({}, BODY + b" ", 0, "signature_invalid"),
        ({}, BODY, 301, "timestamp_outside"),
        ({}, BODY, -301, "timestamp_outside"),
        ({"webhook-timestamp": "soon"}, BODY, 0, "timestamp_invalid"),
        ({"webhook-timestamp": "-1"}, BODY, 0, "timestamp_invalid"),
        ({"webhook-timestamp": "1" * 40}, BODY, 0, "timestamp_invalid"),
        ({"webhook-id": ""}, BODY, 0, "header_missing"),
    ],
)
def test_a_receiver_refuses_what_was_changed_or_is_old(changes: dict[str, str], body: bytes, now: int, code: str) -> None:
    with pytest.raises(WebhookRefused) as refused:
        verify_webhook(VECTOR | changes, body, SECRET, now=1614265330 + now)
    assert refused.value.code == code


@pytest.mark.parametrize("body", [b"no json", b"[1]", b"\xff"])
def test_a_receiver_refuses_a_signed_body_that_is_no_event(body: bytes) -> None:
    headers = signed_headers([SECRET], "m", 5, body)
    with pytest.raises(WebhookRefused) as refused:
        verify_webhook(headers, body, SECRET, now=5)
    assert refused.value.code == "payload_invalid"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "whsec_!!!", "whsec_" + "A" * 200])
def test_a_receiver_is_told_when_its_secret_is_none(secret: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(VECTOR, BODY, secret)


def test_operators_turn_endpoints_off_and_on_and_send_again() -> None:
    endpoint, olga = an_endpoint(), operator()
    tell()
    Receiver().run()
    delivery = WebhookDelivery.objects.get()
    for model, row, action in (
        ("webhookendpoint", endpoint, "turn_off"),
        ("webhookendpoint", endpoint, "turn_on"),
        ("webhookdelivery", delivery, "replay"),
    ):
        answer = olga.post(f"/admin/marketplace/{model}/", {"action": action, "_selected_action": [str(row.pk)]})
        assert answer.status_code == 302, action
    assert states() == {"pending": 1}
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is None
    sealed = WebhookSecret.objects.get()
    assert sealed.sealed not in olga.get(page_of(sealed)).content.decode()


def test_late_deliveries_stand_in_the_river(monkeypatch: pytest.MonkeyPatch) -> None:
    from config import river

    an_endpoint()
    tell(times=2)
    WebhookDelivery.objects.update(due_at=timezone.now() - timedelta(minutes=6))
    step = next(step for step in river.STEPS if step.key == "tell")
    found = river.backlog_of(step)
    assert (found.count, found.is_late) == (1, True), "the second waits for the first"
    Receiver().run()
    assert river.backlog_of(step).count == 0


def test_the_document_names_every_type_with_its_example() -> None:
    text = DOCS.read_text()
    for one in declared():
        assert f"`{one.name}` | {one.tells} |" in text, one.name
    shown = [json.loads(part.split("```")[0]) for part in text.split("```json\n")[1:]]
    examples = {one["type"]: one["data"] for one in shown if "type" in one}
    for one in declared():
        if one.name in examples:
            assert examples[one.name] == one.example
    assert {"task.delivered", "webhook.disabled"} <= set(examples)


def test_the_example_in_the_document_verifies() -> None:
    text = DOCS.read_text()
    assert VECTOR["webhook-signature"] in text
    assert SECRET in text
    assert signature_of(SECRET, VECTOR["webhook-id"], int(VECTOR["webhook-timestamp"]), BODY) == VECTOR["webhook-signature"]
