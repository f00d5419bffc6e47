"""A batch before it meets the database: what is refused, what is old, what stands in it twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from metering.events.names import digests_of, keys_of
from metering.events.reading import AHEAD, HEARTBEAT, OLDEST, Event, Refused, Series


class Answer(NamedTuple):
    """What became of one event: accepted, duplicate, conflict, quarantined or invalid; and why not accepted."""

    status: str
    code: str = ""
    field: str | None = None
    detail: str = ""
    id: str | None = None
    source: str | None = None


class Row(NamedTuple):
    """An event on its way into the database."""

    key: str
    digest: str
    event: Event
    old: bool


@dataclass(slots=True)
class Batch:
    """The events that can be stored, each with its key, its digest and its place among all that were sent.

    first    which of them has a key first: that one stands
    again    which of them have a key that another had before
    old      which of them happened so long ago that an operator decides
    refused  the answers to all others, by place
    """

    places: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    first: dict[str, int] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)
    old: set[int] = field(default_factory=set)
    refused: dict[int, Answer] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """What stands, if the database knows nothing else."""
        return [Row(key, self.digests[n], self.events[n], n in self.old) for key, n in self.first.items()]

    def verdicts(self, others: Mapping[str, str]) -> dict[int, str]:
        """What becomes of all but the accepted ones: duplicate, key_taken, seq_used or too_old.

        others  what kept a key out: the digest of the event that is stored under it, `seq_used` or `too_old`
        """
        found = {}
        for key, other in others.items():
            n = self.first[key]
            found[n] = other if other in _BY_DATABASE else self._compared(n, other)
        for n in self.again:
            first = self.first[self.keys[n]]
            if self.digests[n] == self.digests[first]:
                found[n] = found.get(first, "duplicate")
            else:
                found[n] = self._compared(n, others.get(self.keys[n], ""))
        return found

    def _compared(self, n: int, stored: str) -> str:
        return "duplicate" if self.digests[n] == stored else "key_taken"

    def payloads(self, verdicts: Mapping[int, str]) -> Iterator[tuple[Row, str]]:
        """Each payload that is not accepted, once, and what becomes of it."""
        for n, verdict in verdicts.items():
            if n == (first := self.first[self.keys[n]]) or self.digests[n] != self.digests[first]:
                yield Row(self.keys[n], self.digests[n], self.events[n], n in self.old), verdict


_BY_DATABASE: Final = frozenset({"seq_used", "too_old"})


def named(events: Iterable[Event | Refused]) -> tuple[set[str], set[str]]:
    """The pools and the customers that the events name."""
    series = {event.series for event in events if isinstance(event, Event)}
    return {one.pool for one in series}, {one.subject for one in series}


def sort(
    provider: int, events: Sequence[Event | Refused], pools: Mapping[str, int], customers: Mapping[str, int], now: datetime,
    shut: Set[tuple[str, str]] = frozenset(),
) -> Batch:  # fmt: skip
    """Sort a batch: `pools` are the provider's by identifier, `customers` those that exist by short name.

    shut  (pool, customer) where the pool's own lists do not admit the customer

    The first event with a key stands; the same again is its duplicate, another payload under it is against it.
    """
    batch = Batch()
    _refuse(batch, events, pools, customers, now, shut)
    batch.keys, batch.digests = keys_of(provider, batch.events), digests_of(batch.events)
    for n, key in enumerate(batch.keys):
        if batch.first.setdefault(key, n) != n:
            batch.again.append(n)
    oldest = now - OLDEST
    batch.old = {n for n, event in enumerate(batch.events) if event.time < oldest}
    return batch


def _refuse(
    batch: Batch, events: Sequence[Event | Refused], pools: Mapping[str, int], customers: Mapping[str, int], now: datetime,
    shut: Set[tuple[str, str]],
) -> None:  # fmt: skip
    """Part what can be stored from what is refused."""
    latest = now + AHEAD
    series = {event.series for event in events if isinstance(event, Event)}
    wrong = {one: refused for one in series if (refused := _refused(one, pools, customers, shut))}
    for place, event in enumerate(events):
        if isinstance(event, Refused):
            batch.refused[place] = _invalid(event, event)
        elif (wrong and event.series in wrong) or event.time > latest:
            batch.refused[place] = _invalid(event, wrong.get(event.series, _IN_FUTURE))
        else:
            batch.places.append(place)
            batch.events.append(event)


_IN_FUTURE: Final = Refused("in_future", "time", "more than five minutes ahead of the platform's clock")


def _refused(
    series: Series, pools: Mapping[str, int], customers: Mapping[str, int], shut: Set[tuple[str, str]]
) -> Refused | None:
    if series.pool not in pools:
        return Refused("pool_unknown", "data.pool", "the provider has no such pool")
    if series.subject not in customers:
        return Refused("subject_unknown", "subject", "there is no such organization")
    if (series.pool, series.subject) in shut and series.meter != HEARTBEAT:
        return Refused("subject_not_admitted", "subject", "the pool's own lists do not admit this organization")
    return None


def _invalid(event: Event | Refused, refused: Refused) -> Answer:
    names = (event.id, event.series.source) if isinstance(event, Event) else (None, None)
    return Answer("invalid", refused.code, refused.field, refused.detail, *names)
