"""Wakes inside a web process: one listening connection, any number of waiting requests, no thread held.

PostgreSQL's NOTIFY is sent by the transaction that makes the work, so nobody is woken too early and no broker is
needed. A request that waits loses nothing when the connection breaks: it looks again at its time-out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from django.db import connection

log = logging.getLogger(__name__)
CHANNELS: Final = ("gridfare_pool", "gridfare_task")
RETRY_S: Final = 1.0


class Hub:
    """Per event loop: who waits for which key, and what was announced when. Keys are `channel:payload`."""

    def __init__(self) -> None:
        self.serial = 0
        self._last: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen from now on, if it does not yet. Must be called from the loop."""
        if self._listener is None or self._listener.done():
            self._listener = asyncio.get_running_loop().create_task(self._listen())

    def announce(self, key: str) -> None:
        """Wake everybody who waits for the key."""
        self.serial += 1
        self._last[key] = self.serial
        for event in self._waiting.get(key, ()):
            event.set()

    @contextlib.contextmanager
    def waiting(self, key: str, since: int) -> Iterator[asyncio.Event]:
        """An event that is set when the key is announced, and already if it was after `since`."""
        event = asyncio.Event()
        if self._last.get(key, 0) > since:
            event.set()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except (psycopg.Error, OSError) as error:
                log.warning("listening to the database broke off (%s); trying again", error)
            self._wake_everybody()  # what was announced meanwhile is unknown: let all look again
            await asyncio.sleep(RETRY_S)

    async def _listen_once(self) -> None:
        async with await psycopg.AsyncConnection.connect(**connection_parameters(), autocommit=True) as link:
            for channel in CHANNELS:
                await link.execute(f"LISTEN {channel}")
            self._wake_everybody()
            async for notice in link.notifies():
                self.announce(f"{notice.channel}:{notice.payload}")

    def _wake_everybody(self) -> None:
        for key in list(self._waiting):
            self.announce(key)


def connection_parameters() -> dict[str, Any]:
    """libpq's parameters of Django's default database."""
    parameters = connection.get_connection_params()
    known = ("dbname", "user", "password", "host", "port", "sslmode", "sslrootcert")
    return {name: str(parameters[name]) for name in known if parameters.get(name)}


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The running loop's hub, listening."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    _hubs[loop].start()
    return _hubs[loop]


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; False when the time is over."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
