"""Signed calls to the platform (docs/protocol.md), for the event loop and for the threads that move files."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from gridfare import version
from gridfare.agent.identity import Identity, body_hash, request_text

BLOBS = "/agent/v1/blobs/"
USER_AGENT = f"gridfare-agent/{version}"


class ProtocolError(Exception):
    """The platform refused a call: an RFC 9457 document with a stable code."""

    def __init__(self, status: int, code: str, detail: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail, self.fields = status, code, detail, dict(fields or {})


class Unreachable(Exception):
    """The platform did not answer, or answered that it cannot now (5xx, 429); `retry_after_s` where it said so."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class Clock:
    """The platform's clock as seen from here: only the difference is kept."""

    offset_ms: int = 0

    def now_ms(self) -> int:
        """Unix time in milliseconds at the platform."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    def adopt(self, server_time_ms: int) -> None:
        """Learn the difference from an answer."""
        self.offset_ms = server_time_ms - time.time_ns() // 1_000_000


@dataclass(slots=True)
class Signer:
    """Writes the Authorization header."""

    identity: Identity
    agent_id: str
    clock: Clock = field(default_factory=Clock)

    def header(self, method: str, url: httpx.URL, body: bytes | None) -> str:
        """The header's value; ``body`` None on blob paths, whose content is named by its hash."""
        target = url.raw_path.decode("ascii")
        moment = self.clock.now_ms()
        hashed = "-" if body is None else body_hash(body)
        signature = self.identity.sign(request_text(method, target, moment, hashed))
        return f"Gridfare {self.agent_id}:{moment}:{signature}"


def problem_of(response: httpx.Response) -> ProtocolError | Unreachable:
    """The error that a refused response stands for; its body has been read."""
    if response.status_code == 429 or response.status_code >= 500:
        wait = response.headers.get("Retry-After", "")
        return Unreachable(f"HTTP {response.status_code}", float(wait) if wait.isdigit() else None)
    try:
        document = response.json()
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    code, detail = document.get("code") or "refused", document.get("detail") or response.reason_phrase
    return ProtocolError(response.status_code, str(code), str(detail), document)


def decoded(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of a successful answer; raises ProtocolError or Unreachable otherwise."""
    if not response.is_success:
        raise problem_of(response)
    try:
        document = json.loads(response.content)
    except ValueError:
        raise Unreachable("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise Unreachable("the answer is not a JSON object")
    return document


def is_clock_skew(problem: ProtocolError, signer: Signer) -> bool:
    """Whether the call failed for our clock only; if so the difference is learned and the call may be repeated."""
    if problem.status != 401 or problem.code != "clock_skew" or "server_time_ms" not in problem.fields:
        return False
    signer.clock.adopt(int(problem.fields["server_time_ms"]))
    return True


def post_once(url: str, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """An unsigned call: enrolment. Raises ProtocolError or Unreachable."""
    try:
        response = httpx.post(url + path, json=payload, timeout=30, headers={"User-Agent": USER_AGENT})
    except httpx.TransportError as problem:
        raise Unreachable(describe(problem)) from problem
    return decoded(response)


def describe(problem: Exception) -> str:
    """A transport failure in a few words."""
    return str(problem) or type(problem).__name__


class Channel:
    """JSON calls from the event loop; a call can be cancelled."""

    def __init__(self, url: str, signer: Signer) -> None:
        self.url, self.signer = url.rstrip("/"), signer
        limits = httpx.Limits(max_connections=4, keepalive_expiry=30)
        self.client = httpx.AsyncClient(limits=limits, headers={"User-Agent": USER_AGENT})

    async def post(self, path: str, body: bytes, timeout_s: float) -> dict[str, Any]:
        """Send a JSON body; raises ProtocolError or Unreachable."""
        try:
            return await self._post(path, body, timeout_s)
        except ProtocolError as problem:
            if not is_clock_skew(problem, self.signer):
                raise
        return await self._post(path, body, timeout_s)

    async def _post(self, path: str, body: bytes, timeout_s: float) -> dict[str, Any]:
        url = httpx.URL(self.url + path)
        headers = {
            "Authorization": self.signer.header("POST", url, body),
            "Content-Type": "application/json",
        }
        timeout = httpx.Timeout(timeout_s, connect=10)
        try:
            response = await self.client.post(url, content=body, headers=headers, timeout=timeout)
        except httpx.TransportError as problem:
            raise Unreachable(describe(problem)) from problem
        return decoded(response)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


class BlobChannel:
    """Blob calls from transfer threads (httpx.Client may be shared by threads)."""

    def __init__(self, url: str, signer: Signer, connections: int = 8) -> None:
        self.url, self.signer = url.rstrip("/"), signer
        limits = httpx.Limits(max_connections=connections, keepalive_expiry=30)
        self.client = httpx.Client(limits=limits, timeout=30, headers={"User-Agent": USER_AGENT})

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None = None,
    ) -> httpx.Response:
        """Send and return the open response (the caller closes it). Raises Unreachable on a transport failure."""
        url = httpx.URL(self.url + path)
        signed = {**(headers or {}), "Authorization": self.signer.header(method, url, None)}
        request = self.client.build_request(method, url, headers=signed, content=content)
        return self._send(request)

    def follow(self, location: str, headers: Mapping[str, str]) -> httpx.Response:
        """Fetch a signed URL of an object store: our own signature stays at home."""
        return self._send(self.client.build_request("GET", location, headers=dict(headers)))

    def _send(self, request: httpx.Request) -> httpx.Response:
        try:
            return self.client.send(request, stream=True)
        except httpx.TransportError as problem:
            raise Unreachable(describe(problem)) from problem

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
