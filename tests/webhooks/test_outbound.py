"""Requests to addresses that strangers name: only public ones, never redirected, bounded in time and bytes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

from core import outbound
from core.outbound import Unreachable, is_public, post, url_problem
from tests.builders_receiver import HttpReceiver, listening


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "192.88.99.1", "198.18.0.1",
        "192.0.2.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd00:ec2::254",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1", "100::1",
    ],
)  # fmt: skip
def test_these_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_these_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "example.com", "", "https://", "https:///path", "https://user@example.com/",
        "https://user:word@example.com/", "https://@example.com/", "https://example.com/#part", "https://example.com:0/",
        "https://example.com:99999/", "https://example.com:x/", "https://[::1/", "https://exa mple.com/",
        "https://example.com/\r\nX: y", "https://example.com/\x00", "https://bücher.example/", "https://127.0.0.1/",
        "https://2130706433/", "https://0x7f.1/",
        "https://127.1/", "https://0177.0.0.1/", "https://[::1]/", "https://[::ffff:7f00:1]/", "https://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest/meta-data", "https://localhost/", "https://a.localhost/", "https://printer.local/",
        "https://metadata.google.internal/", "https://LOCALHOST/", "https://example.com/" + "x" * 500, "https://example.com/<b>",
    ],
)  # fmt: skip
def test_these_urls_are_refused_by_their_text(url: str) -> None:
    assert url_problem(url)


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com:8443/a/b?c=d%20e", "https://8.8.8.8/hook", "https://xn--bcher-kva.example/"])
def test_these_urls_are_taken(url: str) -> None:
    assert url_problem(url) is None


def test_an_intranet_may_use_http_and_private_addresses_and_still_no_nonsense() -> None:
    assert url_problem("http://127.0.0.1:8000/hook", private=True) is None
    assert url_problem("http://user@127.0.0.1/", private=True)
    assert url_problem("file:///etc/passwd", private=True)


def resolved_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[tuple[Any, ...]]:
    """Let every name have these addresses; gives what is connected to."""
    asked: list[tuple[Any, ...]] = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append((host, port))
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        places = [(one, port, 0, 0) if ":" in one else (one, port) for one in addresses]
        return [(family[":" in place[0]], socket.SOCK_STREAM, 6, "", place) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "::ffff:169.254.169.254"])
def test_one_private_address_among_public_ones_is_enough_to_refuse_a_name(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolved_to(monkeypatch, "93.184.216.34", address)
    with pytest.raises(Unreachable) as refused:
        post("https://example.com/", {}, b"")
    assert refused.value.code == "address_private"


def test_a_name_is_asked_once_and_the_checked_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers otherwise the second time (rebinding) is not asked a second time."""
    asked = resolved_to(monkeypatch, "93.184.216.34")
    connected: list[Any] = []

    def connect(places: Any, until: float) -> socket.socket:
        connected.extend(places)
        raise OSError("far enough")

    monkeypatch.setattr(outbound, "_connect", connect)
    with pytest.raises(Unreachable):
        post("https://example.com/", {}, b"")
    assert asked == [("example.com", 443)]
    assert connected == [(socket.AF_INET, ("93.184.216.34", 443))]


def test_without_the_setting_not_even_a_receiver_that_listens_here_is_asked() -> None:
    with listening(HttpReceiver()) as receiver, pytest.raises(Unreachable) as refused:
        post(receiver.url, {}, b"{}")
    assert refused.value.code == "url_refused"
    assert receiver.requests == []


def test_a_request_arrives_with_its_headers_and_body() -> None:
    with listening(HttpReceiver()) as receiver:
        answer = post(receiver.url + "/hook?a=b", {"webhook-id": "one"}, b'{"a": 1}', private=True)
    assert (answer.status, answer.body) == (200, b"ok")
    ((path, headers, body),) = receiver.requests
    assert (path, headers["webhook-id"], headers["content-length"], body) == ("/hook?a=b", "one", "8", b'{"a": 1}')
    assert headers["host"] == receiver.url.removeprefix("http://")


def test_a_redirect_is_an_answer_and_nobody_follows_it() -> None:
    receiver = HttpReceiver(lambda path, body: (302, {"location": "/elsewhere"}, b""))
    with listening(receiver):
        assert post(receiver.url + "/hook", {}, b"{}", private=True).status == 302
    assert [path for path, _, _ in receiver.requests] == ["/hook"]


def test_of_a_long_answer_only_the_beginning_is_read() -> None:
    with listening(HttpReceiver(lambda path, body: (200, {}, b"x" * 5_000_000))) as receiver:
        assert post(receiver.url, {}, b"{}", private=True).body == b"x" * 1024


@contextmanager
def answering(*pieces: bytes, pause_s: float = 0.0) -> Iterator[str]:
    """A raw server that reads a little, says these pieces with pauses, and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause_s)
        except OSError:
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
    finally:
        server.close()
        thread.join(5)


def refused(*pieces: bytes, pause_s: float = 0.0) -> str:
    with answering(*pieces, pause_s=pause_s) as url, pytest.raises(Unreachable) as told:
        post(url, {}, b"{}", private=True, seconds=0.3)
    return told.value.code


def test_bytes_that_trickle_do_not_stretch_the_time() -> None:
    begun = time.monotonic()
    assert refused(*[b"H"] * 12, pause_s=0.1) == "timed_out"
    assert time.monotonic() - begun < 3


def test_what_is_no_http_is_said_so() -> None:
    assert refused(b"SSH-2.0-OpenSSH_9.2\r\n") == "no_http"
    assert refused() == "no_http"
    assert refused(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n") == "no_http"


def test_a_body_that_breaks_off_does_not_unsay_the_status() -> None:
    with answering(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf") as url:
        answer = post(url, {}, b"{}", private=True, seconds=2)
    assert (answer.status, answer.body) == (200, b"half")


def test_nobody_there_and_no_such_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable) as closed:
        post(f"http://127.0.0.1:{port}/", {}, b"", private=True, seconds=2)
    assert closed.value.code == "no_connection"

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable) as nameless:
        post("https://nobody.example/", {}, b"")
    assert nameless.value.code == "name_unknown"


def test_a_server_that_speaks_no_tls_is_told_apart() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as url, pytest.raises(Unreachable) as told:
        post(url.replace("http", "https"), {}, b"", private=True, seconds=2)
    assert told.value.code == "tls_failed"
