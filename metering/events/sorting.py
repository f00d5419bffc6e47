"""A batch before it meets the database: what is refused, what is old, what stands in it twice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from metering.events.reading import AHEAD, HEARTBEAT, OLDEST, Event, Refused, Series, Usual, key_of, read_any


@dataclass(slots=True)
class Answer:
    """What became of one event: accepted, duplicate, conflict, quarantined or invalid; and why not accepted."""

    status: str
    code: str = ""
    field: str | None = None
    detail: str = ""
    id: str | None = None
    source: str | None = None


@dataclass(slots=True)
class Row:
    """An event on its way into the database, and the places in the batch where it stands."""

    key: str
    digest: str
    event: Event
    old: bool
    places: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """`rows` by key; `answers` has None where the database decides; `against` are payloads at odds with their row."""

    rows: dict[str, Row]
    answers: list[Answer | None]
    against: list[Row]

    def verdicts(self, others: Mapping[str, str]) -> Iterator[tuple[Row, str]]:
        """What becomes of each payload: accepted, duplicate, key_taken, seq_used or too_old.

        others  what kept a key out: the digest of the event that is stored under it, `seq_used` or `too_old`
        """
        for row in self.rows.values():
            other = others.get(row.key, "accepted")
            yield row, other if other in _BY_DATABASE else _compared(row, other)
        for row in self.against:
            yield row, _compared(row, others.get(row.key, ""))


_BY_DATABASE: Final = frozenset({"accepted", "seq_used", "too_old"})


def _compared(row: Row, stored: str) -> str:
    return "duplicate" if row.digest == stored else "key_taken"


def read_all(documents: Iterable[Any]) -> list[Event | Refused]:
    """Each document as an event, or why it is none."""
    usual = Usual().read
    return [document if isinstance(document, Refused) else usual(document) or read_any(document) for document in documents]


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
    batch = Batch({}, [None] * len(events), [])
    latest, oldest = now + AHEAD, now - OLDEST
    series: dict[Series, Refused | None] = {}
    for place, event in enumerate(events):
        if isinstance(event, Refused):
            batch.answers[place] = _invalid(event, event)
            continue
        of = event.series
        if of not in series:
            series[of] = _refused(of, pools, customers, shut)
        refused = series[of] or (_IN_FUTURE if event.time > latest else None)
        if refused is None:
            _add(batch, place, Row(key_of(provider, of.source, event.id), event.digest(), event, event.time < oldest))
        else:
            batch.answers[place] = _invalid(event, refused)
    return batch


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


def _add(batch: Batch, place: int, row: Row) -> None:
    first = batch.rows.setdefault(row.key, row)
    if first.digest == row.digest:
        first.places.append(place)
    else:
        row.places.append(place)
        batch.against.append(row)
