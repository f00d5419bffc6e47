"""Requests to addresses that strangers name: only to public addresses, never redirected, bounded in time and bytes.

A name is resolved once, every address it has is checked, and the connection goes to a checked address: a name server that
answers differently a moment later (DNS rebinding) changes nothing. Addresses that carry another inside (IPv4-mapped, NAT64) are
judged by what they carry; tunnels (6to4, Teredo) are refused. What is public follows IANA's special-purpose registries, through
`ipaddress`, and a list of what those do not name: https://www.iana.org/assignments/iana-ipv4-special-registry.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException, HTTPResponse
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address

MOST_URL: Final = 500
_NAT64: Final = IPv6Network("64:ff9b::/96")
_TUNNELS: Final = (IPv6Network("2001::/32"), IPv6Network("2002::/16"), IPv6Network("64:ff9b:1::/48"))
_NOT_FOR_STRANGERS: Final = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments; one cloud's metadata
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("168.63.129.16/32"),  # public in the registry, and one cloud's own services to its machines
)


class Unreachable(Exception):
    """No answer came, or the address may not be asked. `code` is stable: see `post`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers in lower case, and the body's first bytes."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def is_public(address: Address) -> bool:
    """True for an address that anybody on the internet may be asked at."""
    carried = _carried(address)
    if carried is not None:
        return is_public(carried)
    if isinstance(address, IPv6Address) and (address.scope_id or any(address in tunnel for tunnel in _TUNNELS)):
        return False
    if isinstance(address, IPv4Address) and any(address in block for block in _NOT_FOR_STRANGERS):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried(address: Address) -> IPv4Address | None:
    """The IPv4 address inside an IPv4-mapped or NAT64 one."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


def url_problem(url: str, *, private: bool = False) -> str | None:
    """What is wrong with a URL that a stranger wants us to call, in words; None when nothing is.

    private  private addresses and http are allowed: for intranets and tests

    Only looks at the text. Names are resolved when they are called, not before: they may change.
    """
    if len(url) > MOST_URL:
        return f"at most {MOST_URL} characters"
    if not (url.isascii() and url.isprintable()) or any(character in url for character in ' "<>\\^`{|}'):
        return "only the characters of a URL; others percent-encoded, names in punycode"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is no URL"
    return _parts_problem(parts, port, private)


def _parts_problem(parts: SplitResult, port: int | None, private: bool) -> str | None:
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        return "the URL begins with https://" + (" or http://" if private else "")
    if not parts.hostname or port == 0:
        return "the URL names no host"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "no user name, password or fragment in the URL"
    address = _literal(parts.hostname)
    hidden = parts.hostname == "localhost" or parts.hostname.endswith((".localhost", ".local", ".internal"))
    if not private and (hidden or (address is not None and not is_public(address))):
        return "this address is private; only public ones are called"
    return None


def _literal(host: str) -> Address | None:
    """The address that a host is written as; also in the odd ways of old (2130706433, 0x7f.1, 127.1)."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def post(
    url: str, headers: Mapping[str, str], body: bytes, *, private: bool = False, seconds: float = 15.0, most_bytes: int = 1024
) -> Answer:
    """POST once. The whole of it, from the name's addresses on, ends after `seconds`; of the answer `most_bytes` are read.

    Raises Unreachable: `url_refused`, `address_private`, `name_unknown`, `no_connection`, `tls_failed`, `timed_out`, `no_http`.
    A redirect is an answer like another: nobody follows it.
    """
    if problem := url_problem(url, private=private):
        raise Unreachable("url_refused", problem)
    parts = urlsplit(url)
    until = time.monotonic() + seconds
    try:
        with _connected(parts, until, private) as connection:
            connection.settimeout(_left(until))
            connection.sendall(_request(parts, headers, body))
            return _answer(connection, until, most_bytes)
    except TimeoutError:
        raise Unreachable("timed_out", f"no answer within {seconds:g} seconds") from None
    except ssl.SSLError as error:
        raise Unreachable("tls_failed", str(error)) from None
    except HTTPException as error:
        raise Unreachable("no_http", f"this is no answer in HTTP: {type(error).__name__}") from None
    except OSError as error:
        raise Unreachable("no_connection", error.strerror or str(error)) from None


def _left(until: float) -> float:
    """Seconds until the moment; TimeoutError when it is over (a time-out of 0 would mean not to wait at all)."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _connected(parts: SplitResult, until: float, private: bool) -> socket.socket:
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    connection = _connect(addresses_of(host, port, private=private), until)
    if parts.scheme == "http":
        return connection
    try:
        connection.settimeout(_left(until))
        return _tls().wrap_socket(connection, server_hostname=host)
    except BaseException:
        connection.close()
        raise


def addresses_of(host: str, port: int, *, private: bool) -> list[tuple[Any, ...]]:
    """(family, socket address) of all addresses of a name. Unreachable when there is none, or one that is not public."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("name_unknown", f"{host} has no address") from None
    if not private and not all(is_public(ip_address(place[0])) for *_, place in found):
        raise Unreachable("address_private", f"{host} has an address that is not public")
    return [(family, place) for family, _, _, _, place in found]


def _connect(places: list[tuple[Any, ...]], until: float) -> socket.socket:
    """A connection to the first address that takes one."""
    failed: OSError = OSError("no address")
    for family, place in places:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(_left(until))
            connection.connect(place)
        except OSError as error:
            connection.close()
            failed = error
        else:
            return connection
    raise failed


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _request(parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


class _Timed(io.RawIOBase):
    """A socket's bytes until a moment: each byte that trickles in would begin a socket's own time-out anew."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        super().__init__()
        self.connection, self.until = connection, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.connection.settimeout(_left(self.until))
        return self.connection.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `HTTPResponse` asks of a socket."""
        return io.BufferedReader(self)


def _answer(connection: socket.socket, until: float, most_bytes: int) -> Answer:
    response = HTTPResponse(_Timed(connection, until), method="POST")  # type: ignore[arg-type]
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, _beginning(response, most_bytes))


def _beginning(response: HTTPResponse, most_bytes: int) -> bytes:
    """The body's first bytes. The status is the answer: a body that breaks off or is late does not unsay it."""
    parts: list[bytes] = []
    left = most_bytes
    try:
        while left > 0 and (part := response.read1(left)):
            parts.append(part)
            left -= len(part)
    except (OSError, HTTPException):
        pass
    return b"".join(parts)
