"""What programs print: bounded in memory, streamed while they run, head and tail kept beyond the quota."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gridfare.agent import log
from gridfare.agent.protocol import Channel, ProtocolError, Unreachable

CHUNK = 256 * 1024
"""Largest piece of one stream in one call, in bytes."""


class Stream:
    """One output stream of one attempt.

    The first half of the quota is kept and may be sent at once; of the rest only the last half is kept and follows
    when the stream has ended, behind a line that says how much was left out.
    """

    def __init__(self, quota: int) -> None:
        self.half = max(quota // 2, 1)
        self.head = bytearray()
        self.tail: deque[bytes] = deque()
        self.tail_bytes = self.printed = self.sent = 0
        self.closed = False

    def feed(self, data: bytes) -> None:
        """Take what the program printed."""
        self.printed += len(data)
        room = self.half - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        if data:
            self.tail.append(data)
            self.tail_bytes += len(data)
            while self.tail_bytes - len(self.tail[0]) >= self.half:
                self.tail_bytes -= len(self.tail.popleft())

    def close(self) -> None:
        """The program has ended: head, mark and tail become one text."""
        if self.closed:
            return
        self.closed = True
        kept = b"".join(self.tail)[-self.half :]
        left_out = self.printed - len(self.head) - len(kept)
        if left_out > 0:
            self.head += b"\n[gridfare: %d bytes left out]\n" % left_out
        self.head += kept
        self.tail.clear()

    def pending(self) -> bytes:
        """The next piece to send, empty when there is none now."""
        return bytes(self.head[self.sent : self.sent + CHUNK])

    def acknowledge(self, offset: int) -> None:
        """The platform has everything before ``offset``; it may also have lost some and step back."""
        self.sent = max(0, min(offset, len(self.head)))

    def end(self) -> bytes:
        """The last bytes printed, at most a few hundred."""
        return (bytes(self.head[-400:]) + b"".join(self.tail)[-400:]).rstrip()

    @property
    def size(self) -> int:
        """Bytes of the text that can be sent so far."""
        return len(self.head)


@dataclass(slots=True)
class AttemptLog:
    """The streams of one attempt."""

    attempt: int | str
    fence: int
    quota: int
    streams: dict[str, Stream] = field(default_factory=dict)

    def feed(self, name: str, data: bytes) -> None:
        """Take output of the stream ``name`` (stdout, stderr or agent)."""
        if name not in self.streams:
            self.streams[name] = Stream(self.quota)
        self.streams[name].feed(data)

    def note(self, line: str) -> None:
        """A remark of the agent itself, in the stream `agent`."""
        self.feed("agent", line.encode(errors="replace") + b"\n")

    def close(self) -> None:
        """No more output comes."""
        for stream in self.streams.values():
            stream.close()

    def sizes(self) -> dict[str, int]:
        """Bytes of each program stream as the platform stores it."""
        return {name: stream.size for name, stream in self.streams.items() if name != "agent" and stream.size}

    def last_line(self) -> str:
        """The last line that the program printed on stderr, or else on stdout."""
        for name in ("stderr", "stdout"):
            stream = self.streams.get(name)
            lines = stream.end().splitlines() if stream else []
            if lines:
                return lines[-1].decode(errors="replace")
        return ""

    def has_pending(self) -> bool:
        """Whether something waits to be sent."""
        return any(stream.sent < stream.size for stream in self.streams.values())

    def chunks(self) -> list[dict[str, Any]]:
        """The next piece of each stream as the protocol wants it."""
        found = []
        for name, stream in self.streams.items():
            if data := stream.pending():
                text = base64.b64encode(data).decode()
                head = {"attempt": self.attempt, "fence": self.fence, "stream": name}
                found.append({**head, "offset": stream.sent, "data": text})
        return found


class LogShipper:
    """Sends the pieces of many attempts in one call, about every two seconds, at once for those that ended."""

    def __init__(self, channel: Channel, interval_s: float = 2.0, patience_s: float = 30.0) -> None:
        self.channel, self.interval_s, self.patience_s = channel, interval_s, patience_s
        self.logs: dict[str, AttemptLog] = {}
        self.urgent = asyncio.Event()
        self.moved = asyncio.Condition()

    def watch(self, attempt_log: AttemptLog) -> None:
        """Stream this attempt's output while it runs."""
        self.logs[str(attempt_log.attempt)] = attempt_log

    def forget(self, attempt: int | str) -> None:
        """Send nothing more of this attempt."""
        self.logs.pop(str(attempt), None)

    async def finish(self, attempt_log: AttemptLog) -> None:
        """Close the streams and wait until they are delivered; gives up after ``patience_s``."""
        attempt_log.close()
        if attempt_log.has_pending():
            self.watch(attempt_log)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._delivered(attempt_log), self.patience_s)
        self.forget(attempt_log.attempt)

    async def _delivered(self, attempt_log: AttemptLog) -> None:
        key = str(attempt_log.attempt)
        async with self.moved:
            while attempt_log.has_pending() and key in self.logs:
                self.urgent.set()
                await self.moved.wait()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.urgent.wait(), self.interval_s)
            self.urgent.clear()
            chunks = [chunk for item in list(self.logs.values()) for chunk in item.chunks()]
            if chunks:
                await self._send(chunks)

    async def _send(self, chunks: list[dict[str, Any]]) -> None:
        for group in grouped(chunks, 4 * CHUNK):
            body = json.dumps({"chunks": group}).encode()
            try:
                answer = await self.channel.post("/agent/v1/logs", body, 30)
            except (Unreachable, ProtocolError) as problem:
                log.debug("logs not sent", why=problem)
                await asyncio.sleep(1.0)
                self.urgent.set()
                return
            self._acknowledge(group, answer.get("acked") or [])
        async with self.moved:
            self.moved.notify_all()

    def _acknowledge(self, sent: list[dict[str, Any]], acked: list[list[Any]]) -> None:
        """Move on; what the platform does not speak of, it does not want."""
        offsets = {(str(attempt), stream): offset for attempt, stream, offset in acked}
        for chunk in sent:
            key = str(chunk["attempt"])
            offset = offsets.get((key, chunk["stream"]))
            if offset is None:
                self.forget(key)
            elif key in self.logs:
                self.logs[key].streams[chunk["stream"]].acknowledge(offset)


def grouped(chunks: list[dict[str, Any]], limit: int) -> Iterable[list[dict[str, Any]]]:
    """Split into calls of about ``limit`` bytes of text."""
    group: list[dict[str, Any]] = []
    size = 0
    for chunk in chunks:
        if group and size + len(chunk["data"]) > limit:
            yield group
            group, size = [], 0
        group.append(chunk)
        size += len(chunk["data"])
    if group:
        yield group
