"""A task's events as they happen: server-sent events, taken up after a cut by the last sequence number."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator

import httpx

from gridfare.sdk.answers import ENDED, Event
from gridfare.sdk.errors import PlatformFault, TooMany, Unreachable
from gridfare.sdk.http import Calls, checked


def parse_stream(lines: Iterable[str]) -> Iterator[Event]:
    """Events of a `text/event-stream`, each `data` being the event's JSON.

    Comments (the line is alive) and what has no `seq` (the stream's own end) are left out. An event that is cut off
    before its blank line is dropped: it comes again after the reconnect.
    """
    data: list[str] = []
    for line in lines:
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            document = json.loads("\n".join(data))
            if "seq" in document:
                yield document
            data = []


class EventCalls(Calls):
    """What happened to a task, in order."""

    def events(self, task_id: str, *, after: int = 0, follow: bool = False) -> Iterator[Event]:
        """Events after `after`; with `follow` until the task has ended, through every cut of the line."""
        last = after
        for event in self._follow(task_id, after) if follow else ():
            last = event["seq"]
            yield event
        yield from self._recorded(task_id, last)

    def _recorded(self, task_id: str, after: int) -> Iterator[Event]:
        while page := self.http.get(f"/tasks/{task_id}/events", after=after):
            yield from page
            after = page[-1]["seq"]

    def _follow(self, task_id: str, after: int) -> Iterator[Event]:
        failures, last = 0, after
        while True:
            try:
                for event in self._stream(task_id, last):
                    failures, last = 0, event["seq"]
                    yield event
            except (httpx.TransportError, Unreachable, PlatformFault, TooMany) as error:
                failures += 1
                if failures >= self.http.retry.tries:
                    raise self.http.unreachable(error) from error
            # a stream also ends by a cut: only the task itself tells whether more will come
            if self.http.get(f"/tasks/{task_id}")["state"] in ENDED:
                return
            time.sleep(self.http.retry.delay(max(failures, 1)))

    def _stream(self, task_id: str, after: int) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"}
        with self.http.stream(f"/tasks/{task_id}/events?after={after}", headers=headers) as answer:
            yield from parse_stream(checked(answer).iter_lines())
