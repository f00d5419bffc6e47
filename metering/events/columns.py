"""The events of a batch as columns, a thousand at a time, so that what is made of them is still in the processor's cache. Pure.

Where all events are lines, and usual - a quantity, and nothing wrong - they are read column by column, else one by one.
Keys are those of `key_of` and digests those of `Event.digest`, as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import compress, repeat
from typing import Any, Final

from metering.events.binary import VALUES, micros_of, start_of_row
from metering.events.lines import Lines
from metering.events.reading import EARLIEST, Event, Refused, is_uuid7, read
from metering.events.seen import Common, Labels, Much, Whose
from metering.events.usual import NOT_USUAL, usual_of

PART: Final = 1_000
FEW: Final = 16
_are_times: Final = re.compile(
    r"(?:\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)\n)*", re.ASCII
).fullmatch
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_AS_SPELLED: Final = frozenset({b"0000-00-00T00:00:00+00:00", b"0000-00-00T00:00:00.000000+00:00", b""})  # by `isoformat`
_SIGNS: Final = ((8, "-"), (13, "-"), (18, "-"), (23, "-"), (36, "\n"))
_VERSION: Final = frozenset(range(0x70, 0x80))
_VARIANT: Final = frozenset(range(0x80, 0xC0))
_controls: Final = re.compile(r"[\x00-\x1f\x7f]").search
_BEGUN: Final = blake2b(digest_size=16)


@dataclass(slots=True)
class Columns:
    """What can be stored of a batch, and `refused`: by place, why an event cannot be read.

    places    where each stands among all that were sent
    names     the ids as bytes
    ats       when it happened, UTC, as text
    readings  whether a counter's reading is among them
    digests   of those that were asked for
    """

    places: list[int] = field(default_factory=list)
    whose: list[Whose] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    moments: list[datetime] = field(default_factory=list)
    ats: list[str] = field(default_factory=list)
    amounts: list[Much] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    readings: bool = False
    refused: dict[int, Refused] = field(default_factory=dict)
    digests: dict[int, bytes] = field(default_factory=dict)

    def keep(self, stays: Sequence[bool]) -> None:
        """Only those, before digests are asked for."""
        for name in ("places", "whose", "ids", "names", "moments", "ats", "amounts", "labels", "keys"):
            setattr(self, name, list(compress(getattr(self, name), stays)))

    def digest(self, some: Iterable[int]) -> None:
        """Make the digests of these."""
        some = [n for n in some if n not in self.digests]
        ats, whose, amounts, labels = self.ats, self.whose, self.amounts, self.labels
        texts = [
            f"{ats[n]}{(of := whose[n]).before}{(much := amounts[n]).quantity}{of.after}{labels[n].text}{much.after}".encode()
            for n in some
        ]
        self.digests.update(zip(some, _hashes(repeat(_BEGUN), texts), strict=True))

    def binary(self, some: Sequence[int], ends: Mapping[Whose, bytes]) -> bytes:
        """These as rows of COPY; what is the same for all of a series `ends` them."""
        self.digest(some)
        names, whose, moments, amounts, labels = self.names, self.whose, self.moments, self.amounts, self.labels
        keys, digests = self.keys, self.digests
        return b"".join([
            start_of_row(VALUES, 16, keys[n], 16, digests[n], 8, micros_of(moments[n]), len(name := names[n]))
            + name + amounts[n].binary + labels[n].binary + ends[whose[n]]
            for n in some
        ])  # fmt: skip


@dataclass(slots=True)
class _Part:
    """Columns of some events. `stamps`: if all ids are UUIDv7, their bytes, one after the other; else none."""

    whose: list[Whose]
    ids: list[str]
    moments: list[datetime]
    ats: list[str]
    amounts: list[Much]
    labels: list[Labels]
    stamps: bytes = b""


def columns_of(provider: int, documents: Sequence[Any]) -> Columns:
    """Read a batch. Never raises for what an event says.

    documents  parsed JSON, or `Refused` for what could not be parsed
    """
    columns = Columns()
    for _ in reading(columns, provider, documents, 1):
        pass
    return columns


def reading(columns: Columns, provider: int, documents: Sequence[Any], stops: int) -> Iterator[list[bytes]]:
    """Read a batch into `columns`. Stops so many times, at the end too, to give the keys that came since the stop before."""
    common, seen = Common(provider), 0
    parts = range(0, len(documents), PART)
    ends = {len(parts) * stop // stops for stop in range(1, stops + 1)}
    for number, start in enumerate(parts, 1):
        _read(columns, common, documents[start : start + PART], start)
        if number in ends:
            yield columns.keys[seen:]
            seen = len(columns.keys)


def _read(columns: Columns, common: Common, documents: Sequence[Any], start: int) -> None:
    """All together if all are usual; else each half, until there are few."""
    if part := _usual(common, documents):
        _add(columns, part, range(start, start + len(documents)))
    elif len(documents) > FEW:
        middle = len(documents) // 2
        _read(columns, common, documents[:middle], start)
        _read(columns, common, documents[middle:], start + middle)
    else:
        _read_one_by_one(columns, common, documents, start)


def _read_one_by_one(columns: Columns, common: Common, documents: Sequence[Any], start: int) -> None:
    found = {place: one if isinstance(one, Refused) else read(one) for place, one in enumerate(documents, start)}
    events = {place: event for place, event in found.items() if isinstance(event, Event)}
    columns.refused |= {place: refused for place, refused in found.items() if isinstance(refused, Refused)}
    columns.readings |= any(event.amount.value is not None for event in events.values())
    if events:
        _add(columns, _part_of(common, list(events.values())), list(events))


def _part_of(common: Common, events: Sequence[Event]) -> _Part:
    return _Part(
        [common.whose[event.series] for event in events],
        [event.id for event in events],
        [event.time for event in events],
        [event.at for event in events],
        [common.much[event.amount] for event in events],
        [common.labels[event.labels] for event in events],
    )


def _usual(common: Common, documents: Sequence[Any]) -> _Part | None:
    """None if one of them is not usual."""
    named, counted, labelled = common.named, common.counted, common.labelled
    try:
        if not isinstance(documents, Lines):
            return None
        said = usual_of(documents.texts)
        datas = [of.data for of in said]
        whose = [named[of.source, data.pool, of.subject, of.type, data.unit] for of, data in zip(said, datas, strict=True)]
        amounts = [counted[data.quantity] for data in datas]
        labels = [labelled[bytes(data.labels)] for data in datas]
        times = [of.time for of in said]
        moments = list(map(datetime.fromisoformat, times))
        ats = _ats(common.spelled, times, moments)
        ids = [of.id for of in said]
        stamps = _stamps(ids)
        return _Part(whose, ids, moments, ats, amounts, labels, stamps) if ats and (stamps or _are_ids(ids)) else None
    except NOT_USUAL:
        return None


def _ats(spelled: Any, times: list[str], moments: list[datetime]) -> list[str] | None:
    """Each as `isoformat` spells it in UTC. None if one is no time since 1970 with a zone."""
    text = "\n".join([*times, ""])
    if min(moments) < EARLIEST:
        return None
    in_utc = text.count("+00:00\n") == len(times) and ".000000" not in text and "T24:" not in text
    if in_utc and _AS_SPELLED.issuperset(text.encode().translate(_DIGITS).split(b"\n")):
        return text.replace("T", " ").split("\n")[:-1]
    if not _are_times(text):
        return None
    return [
        f"{time[:10]} {time[11:19]}{spelled[time[19:]]}" if at.tzinfo is UTC else at.astimezone(UTC).isoformat(" ")
        for time, at in zip(times, moments, strict=True)
    ]


def _stamps(ids: Sequence[str]) -> bytes:
    """The bytes of ids that are all UUIDv7 in lower case; empty where one is not."""
    text = "\n".join([*ids, ""])
    if len(text) != 37 * len(ids) or any(text[place::37].strip(sign) for place, sign in _SIGNS) or text != text.lower():
        return b""
    try:
        stamps = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return b""
    right = len(stamps) == 16 * len(ids) and _VERSION.issuperset(stamps[6::16]) and _VARIANT.issuperset(stamps[8::16])
    return stamps if right else b""


def _are_ids(ids: list[str]) -> bool:
    return "" not in ids and max(map(len, ids)) <= 200 and not _controls("".join(ids))


def _add(columns: Columns, part: _Part, places: Sequence[int]) -> None:
    columns.places += places
    names = [name.encode() for name in part.ids]
    columns.names += names
    columns.keys += _keys(part, names)
    for name in ("whose", "ids", "moments", "ats", "amounts", "labels"):
        getattr(columns, name).extend(getattr(part, name))


def _keys(part: _Part, names: Sequence[bytes]) -> list[bytes]:
    hashes = _hashes([whose.begun for whose in part.whose], names)
    if stamps := part.stamps:
        return [stamps[start : start + 6] + key[:10] for start, key in zip(range(0, len(stamps), 16), hashes, strict=True)]
    return [
        bytes.fromhex(name[:8] + name[9:13]) + key[:10] if is_uuid7(name) else key
        for name, key in zip(part.ids, hashes, strict=True)
    ]


def _hashes(begun: Iterable[Any], texts: Sequence[bytes]) -> list[bytes]:
    """A copy of a hash that is begun costs less than a new one."""
    found: list[bytes] = []
    for one, text in zip(begun, texts, strict=False):
        hash_ = one.copy()
        hash_.update(text)
        found.append(hash_.digest())
    return found
