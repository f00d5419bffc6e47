"""Usage: events of pools that meter themselves, and what was kept apart of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from gridfare.sdk.answers import EventAnswer, QuarantinedEvent, UsageTaken
from gridfare.sdk.http import Calls

MOST_EVENTS = 10_000  # that the platform takes at once
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


class UsageCalls(Calls):
    """What was used: asked for, and as pools meter it."""

    def usage(
        self,
        group_by: Sequence[str] = (),
        *,
        party: str = "user",
        since: str | None = None,
        until: str | None = None,
        zone: str | None = None,
        meter: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Sums of usage over [since, until), a day or a moment each, in `zone`; `meter`, `unit`, `quantity` in every row.

        group_by  organization, project, label:NAME, capability, pool, region, api_key, day, hour, month; several
        party     user: used by the organization; provider: done by its pools; all: operators only
        """
        params = _window(group_by, party, since, until, zone, meter)
        while True:
            page = self.http.get("/usage", **params)
            yield from page["rows"]
            if not page["next"]:
                return
            params = params | {"after": page["next"], "from": page["from"], "to": page["to"]}

    def usage_csv(
        self,
        group_by: Sequence[str] = (),
        *,
        party: str = "user",
        since: str | None = None,
        until: str | None = None,
        zone: str | None = None,
        meter: str | None = None,
    ) -> str:
        """The same as CSV text."""
        return self.http.send("GET", "/usage.csv", params=_window(group_by, party, since, until, zone, meter)).text

    def usage_days(
        self, *, meter: str | None = None, stat: str | None = None, since: str | None = None, until: str | None = None
    ) -> Iterator[dict[str, Any]]:
        """Days of the organization's zone, in slots of five minutes; None in a slot: nobody can vouch for it.

        stat  sum (of quantities that pools reported), avg or max (of what was held, or sampled)
        """
        window: dict[str, Any] = {"meter": meter, "stat": stat, "from": since, "to": until}
        return self.http.pages("/usage/days", **window)

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

    def correct_usage_events(self, corrections: Iterable[dict[str, Any]]) -> UsageTaken:
        """Say what events of yours should have said: `{source, id, name, quantity}` each, or `gauge` for a sample.

        `name` is the correction's own: sending it again changes nothing. Answers like `send_usage`.
        """
        taken = UsageTaken(counts={}, rows=[])
        given, done = iter(corrections), 0
        while batch := list(islice(given, MOST_EVENTS)):
            _add(taken, self.http.post("/usage/corrections", {"corrections": batch}, repeatable=True), done)
            done += len(batch)
        return taken

    def reconcile_usage(
        self,
        counters: str | Sequence[dict[str, Any]],
        *,
        relative: str = "0",
        absolute: str = "0",
        name: str = "",
        zone: str | None = None,
    ) -> dict[str, Any]:
        """Compare counters of your pools with what the platform knows: CSV text, or `{pool, meter, unit, from, to, quantity}` each.

        relative, absolute  how far off is within, as a part of ours and as a quantity; the larger counts
        """
        kind = "text/csv" if isinstance(counters, str) else "application/json"
        content = counters.encode() if isinstance(counters, str) else json.dumps(list(counters)).encode()
        params = {"relative": relative, "absolute": absolute, "name": name} | ({"zone": zone} if zone else {})
        answer: dict[str, Any] = self.http.json(
            "POST", "/usage/reconciliations", params=params, content=content, headers={"Content-Type": kind}
        )
        return answer

    def reconciliations(self, *, most: int | None = None) -> Iterator[dict[str, Any]]:
        """Reconciliations of your counters with their runs, newest first."""
        return self.http.pages("/usage/reconciliations", most=most)

    def reconciliation(self, number: int) -> dict[str, Any]:
        """One of them."""
        answer: dict[str, Any] = self.http.get(f"/usage/reconciliations/{number}")
        return answer

    def reconciliation_rows(self, number: int, *, status: str | None = None, run: int | None = None) -> Iterator[dict[str, Any]]:
        """The report of a run, by default the last. `status` is matched, within, off, missing_here or missing_there."""
        return self.http.pages(f"/usage/reconciliations/{number}/rows", status=status, run=run)

    def reconcile_again(self, number: int) -> dict[str, Any]:
        """Compare the same counters with what the platform knows now."""
        answer: dict[str, Any] = self.http.post(f"/usage/reconciliations/{number}/runs")
        return answer

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


def _window(
    group_by: Sequence[str], party: str, since: str | None, until: str | None, zone: str | None, meter: str | None
) -> dict[str, Any]:
    window = {"from": since, "to": until, "zone": zone, "meter": meter}
    return window | {"party": party, "group_by": ",".join(group_by) or None}


def _add(taken: UsageTaken, answer: Any, before: int) -> None:
    for status, count in answer["counts"].items():
        taken["counts"][status] = taken["counts"].get(status, 0) + count
    rows: list[EventAnswer] = [row for row in answer["rows"] if row["status"] not in ("accepted", "duplicate")]
    taken["rows"] += [row | {"index": row["index"] + before} for row in rows]
