"""Patience with faults, and errors that say what is wrong."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest

from gridfare.client import Client
from gridfare.sdk import errors
from gridfare.sdk.http import Retry, trusted
from tests.client.conftest import QUICK
from tests.client.platform import KEY, Fault, Platform


@pytest.mark.parametrize("kind", ["drop", 502, 503, 504, 429])
def test_a_read_is_repeated_through_faults(platform: Platform, client: Client, kind: str | int) -> None:
    platform.faults.append(Fault("GET .*/me", kind, times=3))
    assert client.me()["user"]["username"] == "alice"
    assert platform.calls.count("GET /api/v1/me") == 4


def test_patience_ends(platform: Platform, client: Client) -> None:
    platform.faults.append(Fault("GET .*/me", 503, times=9))
    with pytest.raises(errors.PlatformFault) as caught:
        client.me()
    assert (caught.value.status, caught.value.code) == (503, "busy")
    assert len(platform.calls) == QUICK.tries


def test_what_must_not_happen_twice_is_not_repeated_after_a_lost_answer(platform: Platform, client: Client) -> None:
    platform.faults.append(Fault("POST .*/keys", "drop"))
    with pytest.raises(errors.Unreachable):
        client.create_key("robot")
    assert platform.calls == ["POST /api/v1/keys"]


def test_retry_after_is_obeyed(platform: Platform, url: str) -> None:
    platform.faults.append(Fault("GET .*/me", 429, headers={"Retry-After": "1"}))
    began = time.monotonic()
    with Client(url, KEY, retry=Retry(first_s=0.001, patience_s=5)) as client:
        client.me()
    assert time.monotonic() - began >= 1


def test_a_retry_after_beyond_the_patience_is_an_error_at_once(platform: Platform, client: Client) -> None:
    platform.faults.append(Fault("GET .*/me", 429, headers={"Retry-After": "3600"}))
    with pytest.raises(errors.TooMany):
        client.me()


def test_nobody_there_is_unreachable() -> None:
    with Client("http://127.0.0.1:1", KEY, retry=QUICK) as client, pytest.raises(errors.Unreachable) as caught:
        client.me()
    assert caught.value.code == "unreachable"


def test_a_wrong_key_is_not_logged_in(url: str) -> None:
    with Client(url, "gf_wrong_key", retry=QUICK) as client, pytest.raises(errors.NotLoggedIn) as caught:
        client.me()
    assert caught.value.code == "not_authenticated"


def test_bad_input_names_the_field(client: Client) -> None:
    with pytest.raises(errors.Refused) as caught:
        client.submit("gridfare/render", {"frames": "many"})
    assert (caught.value.status, caught.value.field) == (422, "inputs.frames")
    assert len(caught.value.document["errors"]) == 2


def test_pages_are_followed_without_following_their_host(platform: Platform, client: Client) -> None:
    platform.pages_of = 2
    made = [client.submit("gridfare/render")["id"] for _ in range(5)]
    assert [task["id"] for task in client.tasks()] == made[::-1]
    assert [task["id"] for task in client.tasks(limit=3)] == made[:1:-1]


@pytest.mark.parametrize("address", ["", "gridfare.example", "ftp://gridfare.example", "https://", "http://a:b@c"])
def test_what_is_no_address_is_said_at_once(address: str) -> None:
    with pytest.raises((ValueError, errors.NotLoggedIn)):
        Client(address, KEY)


def test_clients_share_whom_they_trust_until_that_is_said_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    default = trusted()
    assert trusted() is default
    assert default.verify_mode == ssl.CERT_REQUIRED
    assert default.check_hostname
    assert default.get_ca_certs()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))  # an empty folder: nobody
    assert trusted() is not default
    assert not trusted().get_ca_certs()
