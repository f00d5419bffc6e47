"""A request's body as a list of documents: one event, a list of them, or a line each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, overload

import orjson

from core.errors import Invalid, Malformed, TooLarge
from metering.events.collector import without_collector
from metering.events.reading import Refused

MOST: Final = 10_000  # events of one request
UNREADABLE: Final = Refused("parse_error", None, "the line is not JSON")


def one(body: bytes) -> list[Any]:
    """`application/cloudevents+json`: a list of one."""
    return [_object(_json(body))]


def several(body: bytes) -> list[Any]:
    """`application/cloudevents-batch+json`. Invalid `invalid_body` for what is no list."""
    found = _json(body)
    if not isinstance(found, list):
        raise Invalid("invalid_body", "a batch is a list of events")
    return _few(found)


def either(body: bytes) -> list[Any]:
    """`application/json`: a list is a batch, an object one event."""
    found = _json(body)
    return _few(found) if isinstance(found, list) else [_object(found)]


def lines(body: bytes) -> Sequence[Any]:
    """`application/x-ndjson`. A line that is not JSON is refused alone; empty lines are nothing."""
    return Lines(_few([line for line in body.split(b"\n") if line.strip()]))


class Lines(Sequence[Any]):
    """Documents, parsed each time they are asked for: all at once would not fit into the processor's cache."""

    def __init__(self, texts: list[bytes]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        return _line(self.texts[at]) if isinstance(at, int) else [_line(text) for text in self.texts[at]]


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return UNREADABLE


@without_collector()
def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("parse_error", f"the body is not JSON: {error}") from None


def _object(document: Any) -> Any:
    if not isinstance(document, dict):
        raise Invalid("invalid_body", "an event is a JSON object")
    return document


def _few(documents: list[Any]) -> list[Any]:
    if len(documents) > MOST:
        raise TooLarge("too_many_events", f"at most {MOST} events in one request", most=MOST)
    return documents
