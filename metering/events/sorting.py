"""A batch before it meets the database: what is refused, what is old, what stands in it twice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

from metering.events.columns import Columns
from metering.events.reading import AHEAD, HEARTBEAT, OLDEST, Event, Refused, Series, read
from metering.events.seen import Whose


class Answer(NamedTuple):
    """What became of one event: accepted, duplicate, conflict, quarantined or invalid; and why not accepted."""

    status: str
    code: str = ""
    field: str | None = None
    detail: str = ""
    id: str | None = None
    source: str | None = None


class Row(NamedTuple):
    """An event on its way into the database; key and digest in hex."""

    key: str
    digest: str
    event: Event
    old: bool


@dataclass(slots=True)
class Batch:
    """What was sent, and the columns of what can be stored.

    first    where a key stands first in the columns: that event stands
    again    where a key stands that stood before
    old      where something happened so long ago that an operator decides
    refused  the answers to all others, by place
    """

    documents: Sequence[Any]
    columns: Columns
    first: dict[bytes, int] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)
    old: set[int] = field(default_factory=set)
    refused: dict[int, Answer] = field(default_factory=dict)

    def row(self, n: int) -> Row:
        """The n-th of the columns, read once more."""
        event = cast("Event", read(self.documents[self.columns.places[n]]))  # it could be read before
        return Row(self.columns.keys[n].hex(), event.digest(), event, n in self.old)

    def verdicts(self, others: Mapping[bytes, bytes | str]) -> dict[int, str]:
        """What becomes of all but the accepted ones: duplicate, key_taken, seq_used or too_old.

        others  what kept a key out: the digest of the event that is stored under it, `seq_used` or `too_old`
        """
        keys, digests, found = self.columns.keys, self.columns.digests, {}
        self.columns.digest([self.first[key] for key in others] + self.again + [self.first[keys[n]] for n in self.again])
        for key, other in others.items():
            n = self.first[key]
            found[n] = other if isinstance(other, str) else self._compared(n, other)
        for n in self.again:
            first = self.first[keys[n]]
            if digests[n] == digests[first]:
                found[n] = found.get(first, "duplicate")
            else:
                found[n] = self._compared(n, others.get(keys[n]))
        return found

    def _compared(self, n: int, stored: bytes | str | None) -> str:
        return "duplicate" if self.columns.digests[n] == stored else "key_taken"

    def payloads(self, verdicts: Mapping[int, str]) -> Iterator[tuple[int, str]]:
        """Each payload that is not accepted, once, and what becomes of it."""
        keys, digests = self.columns.keys, self.columns.digests
        for n, verdict in verdicts.items():
            if n == (first := self.first[keys[n]]) or digests[n] != digests[first]:
                yield n, verdict


def sort(
    columns: Columns, documents: Sequence[Any], pools: Mapping[str, int], customers: Mapping[str, int], now: datetime,
    shut: Set[tuple[str, str]] = frozenset(),
) -> Batch:  # fmt: skip
    """Sort a batch: `pools` are the provider's by identifier, `customers` those that exist by short name.

    shut  (pool, customer) where the pool's own lists do not admit the customer

    The first event with a key stands; the same again is its duplicate, another payload under it is against it.
    """
    batch = Batch(documents, columns)
    batch.refused = {place: _invalid(refused) for place, refused in columns.refused.items()}
    _refuse(batch, {of: wrong for of in set(columns.whose) if (wrong := _wrong(of.series, pools, customers, shut))}, now)
    for n, key in enumerate(columns.keys):
        if batch.first.setdefault(key, n) != n:
            batch.again.append(n)
    oldest = now - OLDEST
    if columns.moments and min(columns.moments) < oldest:
        batch.old = {n for n, moment in enumerate(columns.moments) if moment < oldest}
    return batch


def _refuse(batch: Batch, wrong: Mapping[Whose, Refused], now: datetime) -> None:
    """Answer what cannot be stored after all, and take it out of the columns."""
    columns, latest = batch.columns, now + AHEAD
    if not wrong and max(columns.moments, default=latest) <= latest:
        return
    stays = [of not in wrong and moment <= latest for of, moment in zip(columns.whose, columns.moments, strict=True)]
    for place, of, name, right in zip(columns.places, columns.whose, columns.ids, stays, strict=True):
        if not right:
            batch.refused[place] = _invalid(wrong.get(of, _IN_FUTURE), name, of.series.source)
    columns.keep(stays)


_IN_FUTURE: Final = Refused("in_future", "time", "more than five minutes ahead of the platform's clock")


def _wrong(
    series: Series, pools: Mapping[str, int], customers: Mapping[str, int], shut: Set[tuple[str, str]]
) -> Refused | None:
    if series.pool not in pools:
        return Refused("pool_unknown", "data.pool", "the provider has no such pool")
    if series.subject not in customers:
        return Refused("subject_unknown", "subject", "there is no such organization")
    if (series.pool, series.subject) in shut and series.meter != HEARTBEAT:
        return Refused("subject_not_admitted", "subject", "the pool's own lists do not admit this organization")
    return None


def _invalid(refused: Refused, name: str | None = None, source: str | None = None) -> Answer:
    return Answer("invalid", refused.code, refused.field, refused.detail, name, source)


