"""The network as this machine finds it: round trips and a short transfer to the regions' endpoints (docs/protocol.md).

The platform says where to, how many bytes and how often; nothing is measured without its orders. A round trip is the
time in which a TCP connection is made, which no server's work delays. A transfer is timed on a connection that is open
already, from the request to the last byte. Everything is whole microseconds and bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from dataclasses import dataclass
from typing import Any

import httpx

from gridfare.agent import log
from gridfare.agent.chaos import Chaos
from gridfare.agent.protocol import Channel

ROUND_TRIPS = 10
CONNECT_S, TRANSFER_S = 3.0, 20.0
MOST_BYTES, MOST_ENDPOINTS = 64_000_000, 16  # whatever the platform asks for
LEAST_INTERVAL_S, UNANSWERED_S = 10.0, 3600.0
FIRST_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Orders:
    """What to measure: (region, URL or path of the platform's own) pairs, bytes of one transfer, seconds between."""

    endpoints: tuple[tuple[str, str], ...] = ()
    bytes: int = 0
    interval_s: float = UNANSWERED_S


def orders_of(document: Any) -> Orders | None:
    """The orders in an answer; None where it has none that make sense."""
    try:
        pairs = tuple((str(one["region"]), str(one["url"])) for one in document["endpoints"][:MOST_ENDPOINTS])
        interval_s = max(float(document["interval_s"]), LEAST_INTERVAL_S)
        return Orders(pairs, max(1, min(int(document["bytes"]), MOST_BYTES)), interval_s)
    except (TypeError, KeyError, ValueError, OverflowError):
        return None


class Prober:
    """Asks for orders, measures in the background when they are due, and hands over what it found."""

    def __init__(self, channel: Channel, chaos: Chaos | None = None, *, silent: bool = False) -> None:
        self.channel, self.chaos = channel, chaos or Chaos()
        self.found: list[dict[str, Any]] | None = None if silent else []
        self.said = False
        self.orders = Orders()
        self.due = float("inf")
        self.work: asyncio.Task[None] | None = None

    def words(self) -> dict[str, Any]:
        """What a sync carries: what was found, an empty list to ask for orders, or nothing."""
        self.said = self.found is not None
        return {} if self.found is None else {"probes": self.found}

    def hear(self, document: Any) -> None:
        """The answer to `words`: what was found has arrived, and these are the next orders."""
        if not self.said:
            return
        first, self.said, self.found = not self.orders.endpoints, False, None
        self.orders = orders_of(document) or Orders()
        wait_s = random.uniform(0, FIRST_WITHIN_S) if first else self.orders.interval_s * random.uniform(0.9, 1.1)
        self.due = time.monotonic() + (wait_s if self.orders.endpoints else self.orders.interval_s)

    def tick(self) -> None:
        """Begin to measure if it is time."""
        if self.found is None and self.work is None and time.monotonic() >= self.due:
            self.due = float("inf")
            self.work = asyncio.create_task(self._measure())

    def stop(self) -> None:
        """Measure no more."""
        self.due = float("inf")
        if self.work is not None:
            self.work.cancel()

    async def _measure(self) -> None:
        found = []
        try:
            for region, url in self.orders.endpoints:
                one = await self._one(region, url)
                if one is not None:
                    found.append(self.chaos.quicken(one))
        finally:
            self.found, self.work = found, None

    async def _one(self, region: str, url: str) -> dict[str, Any] | None:
        """The way to one endpoint; None if it cannot be measured now."""
        try:
            place = httpx.URL(self.channel.url + url if url.startswith("/") else url)
            trips = await round_trips(place)
            if not trips:
                return None
            moved, took_us = await self._transfer(place, own=url.startswith("/"))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as problem:
            log.info("an endpoint cannot be measured", region=region, why=type(problem).__name__)
            return None
        return {"region": region, "rtt_us": trips, "tries": ROUND_TRIPS, "bytes": moved, "transfer_us": took_us}

    async def _transfer(self, place: httpx.URL, *, own: bool) -> tuple[int, int]:
        """Bytes moved and microseconds; the first, tiny request opens the connection."""
        async with httpx.AsyncClient(timeout=TRANSFER_S, follow_redirects=False) as client:
            await self._fetch(client, place, 1, own)
            return await self._fetch(client, place, self.orders.bytes, own)

    async def _fetch(self, client: httpx.AsyncClient, place: httpx.URL, size: int, own: bool) -> tuple[int, int]:
        """Read at most `size` bytes of an answer. The platform's own door wants our signature; nobody else gets it."""
        if own:
            body = b'{"bytes": %d}' % size
            signed = {"Authorization": self.channel.signer.header("POST", place, body), "Content-Type": "application/json"}
            request = client.build_request("POST", place, content=body, headers=signed)
        else:
            request = client.build_request("GET", place, headers={"Range": f"bytes=0-{size - 1}", "Accept-Encoding": "identity"})
        began, moved = time.perf_counter_ns(), 0
        async with asyncio.timeout(TRANSFER_S):
            answer = await client.send(request, stream=True)
            try:
                answer.raise_for_status()
                async for piece in answer.aiter_raw():
                    moved += len(piece)
                    if moved >= size:
                        break
            finally:
                await answer.aclose()
        if moved == 0:
            raise ValueError("the answer is empty")
        return min(moved, size), max(1, (time.perf_counter_ns() - began) // 1000)


async def round_trips(place: httpx.URL) -> list[int]:
    """Microseconds of ten connections, those that were made."""
    if place.scheme not in ("http", "https") or not place.host:
        raise ValueError("no address to connect to")
    port = place.port or {"http": 80, "https": 443}[place.scheme]
    # looked up once, so that a name server's time is in no round trip
    host = str((await asyncio.get_running_loop().getaddrinfo(place.host, port, type=socket.SOCK_STREAM))[0][4][0])
    found = []
    for _ in range(ROUND_TRIPS):
        with contextlib.suppress(OSError, TimeoutError):
            began = time.perf_counter_ns()
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT_S)
            found.append(max(1, (time.perf_counter_ns() - began) // 1000))
            writer.close()
    return found
