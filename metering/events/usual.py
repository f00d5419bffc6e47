"""Reading the usual events of a batch in a fraction of the time: a quantity, and nothing wrong. Pure.

Names, quantities, labels and zones come again and again in a batch, so each is looked at once; what differs from event to event,
ids and times, is looked at for all events together. Whatever is not usual or not right is left to `read`, which says what is wrong.
What was seen is forgotten with the batch, so nobody can fill the memory with names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from metering.events.reading import (
    AMOUNT,
    EARLIEST,
    METER,
    RESERVED,
    TEXT,
    UNIT,
    Amount,
    Event,
    Refused,
    Series,
    are_labels,
    canonical,
    is_text,
    plain,
    read,
)  # fmt: skip

_TIME: Final = r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)"
_is_time: Final = re.compile(_TIME, re.ASCII).fullmatch
_are_times: Final = re.compile(f"(?:{_TIME}\n)*", re.ASCII).fullmatch
_AFTER_SECONDS: Final = re.compile(r"(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII).fullmatch
_controls: Final = re.compile(r"[\x00-\x1f\x7f]").search
_NOT_USUAL: Final = (TypeError, KeyError, AttributeError, ValueError, OverflowError)
_new: Final = tuple.__new__  # a named tuple's own constructor takes three times as long


def read_all(documents: Iterable[Any]) -> list[Event | Refused]:
    """Each document as an event, or why it is none: what `read` finds."""
    documents = list(documents)
    found = _without_odd_ones(_read_usual(documents))
    return [event or _read(document) for event, document in zip(found, documents, strict=True)]


def _read(document: Any) -> Event | Refused:
    return document if isinstance(document, Refused) else read(document)


def _read_usual(documents: Iterable[Any]) -> list[Event | None]:
    """The usual ones, but for their ids, and for times in spellings that only the calendar's parser knows."""
    series, amounts, labels_, rests, parsed = _SeriesSeen(), _AmountsSeen(), _LabelsSeen(), _RestsSeen(), datetime.fromisoformat
    events: list[Event | None] = []
    for document in documents:
        try:
            data, time = document["data"], document["time"]
            labels = data["labels"] if len(data) == 4 else None  # with the three below and these there can be no other
            said = labels_[tuple(labels.items())] if labels else None
            names = series[document["source"], data["pool"], document["subject"], document["type"], data["unit"]]
            moment, at = parsed(time), f"{time[:10]} {time[11:19]}{rests[time[19:]]}"
            if moment.tzinfo is not UTC:
                moment = moment.astimezone(UTC)
                at = moment.isoformat(" ")
            if moment < EARLIEST or len(data) > 4 or document["specversion"] != "1.0":
                raise KeyError
            if not (labels is None or isinstance(labels, dict)):
                raise KeyError
            events.append(_new(Event, (names, document["id"], moment, at, amounts[data["quantity"]], said, document)))
        except _NOT_USUAL:
            events.append(None)
    return events


def _without_odd_ones(events: list[Event | None]) -> list[Event | None]:
    """Without those whose ids or times are not what they should be: one look at all together if all are."""
    try:
        names = [event.id for event in events if event]
        times = [event.document["time"] for event in events if event]
        fit = "" not in names and max(map(len, names), default=1) <= 200 and not _controls("".join(names))
        if fit and _are_times("\n".join([*times, ""])):
            return events
    except TypeError:
        pass  # an id that is no text
    return [event if event and is_text(event.id) and _is_time(event.document["time"]) else None for event in events]


class _SeriesSeen(dict[tuple[Any, ...], Series]):
    """By (source, pool, subject, meter, unit). KeyError or TypeError for what cannot be one."""

    def __missing__(self, names: tuple[Any, ...]) -> Series:
        series = Series(*names)
        if not (TEXT(series.source) and TEXT(series.pool) and TEXT(series.subject) and UNIT(series.unit)):
            raise KeyError
        if series.meter in RESERVED or not METER(series.meter):
            raise KeyError
        self[names] = series
        return series


class _AmountsSeen(dict[Any, Amount]):
    """By a quantity's text."""

    def __missing__(self, text: Any) -> Amount:
        if not AMOUNT(text):
            raise KeyError
        self[text] = Amount(plain(text))
        return self[text]


class _LabelsSeen(dict[tuple[tuple[str, Any], ...], str]):
    """Canonical JSON by (name, value) of each label."""

    def __missing__(self, items: tuple[tuple[str, Any], ...]) -> str:
        labels = dict(items)
        if not are_labels(labels):
            raise KeyError
        self[items] = canonical(labels)
        return self[items]


class _RestsSeen(dict[str, str]):
    """By what stands after a time's seconds, its fraction and zone: the same as `isoformat` spells it, if it is UTC."""

    def __missing__(self, rest: str) -> str:
        found = _AFTER_SECONDS(rest)
        if not found:
            raise KeyError
        micros = (found[1] or "")[:6].ljust(6, "0")
        fraction = "" if micros == "000000" else f".{micros}"
        self[rest] = f"{fraction}+00:00"
        return self[rest]
