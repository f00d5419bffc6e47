"""Usage: events of pools that meter themselves, and what was kept apart of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from gridfare.sdk.answers import EventAnswer, QuarantinedEvent, UsageTaken
from gridfare.sdk.http import Calls

MOST_EVENTS = 10_000  # that the platform takes at once
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


class UsageCalls(Calls):
    """What was used, as pools meter it."""

    def send_usage(self, events: Iterable[dict[str, Any]]) -> UsageTaken:
        """Send CloudEvents, however many, in batches. Each is counted once, so sending again is always safe.

        Answers how many were accepted, duplicate, conflict, quarantined, invalid; `rows` are those that are not counted.
        """
        taken = UsageTaken(counts={}, rows=[])
        given, done = iter(events), 0
        while batch := list(islice(given, MOST_EVENTS)):
            answer = self.http.json(
                "POST", "/usage/events", content=json.dumps(batch).encode(), headers=BATCH, repeatable=True
            )
            _add(taken, answer, done)
            done += len(batch)
        return taken

    def usage_quarantine(self, state: str | None = None) -> Iterator[QuarantinedEvent]:
        """Events that were not counted, newest first. `state` is open, accepted or refused."""
        return self.http.pages("/usage/quarantine", state=state)

    def accept_usage(self, number: int) -> QuarantinedEvent:
        """Operators only: count an event that was too old to be taken unseen."""
        answer: QuarantinedEvent = self.http.post(f"/usage/quarantine/{number}/accept")
        return answer

    def refuse_usage(self, number: int) -> QuarantinedEvent:
        """Operators only: leave an event out for good."""
        answer: QuarantinedEvent = self.http.post(f"/usage/quarantine/{number}/refuse")
        return answer


def _add(taken: UsageTaken, answer: Any, before: int) -> None:
    for status, count in answer["counts"].items():
        taken["counts"][status] = taken["counts"].get(status, 0) + count
    rows: list[EventAnswer] = [row for row in answer["rows"] if row["status"] not in ("accepted", "duplicate")]
    taken["rows"] += [row | {"index": row["index"] + before} for row in rows]
