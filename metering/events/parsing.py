"""A request's body as a list of documents: one event, a list of them, or a line each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import orjson

from core.errors import Invalid, Malformed, TooLarge
from metering.events.collector import without_collector
from metering.events.lines import Lines
from metering.events.usual import NOT_USUAL

MOST: Final = 10_000  # events of one request
_texts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def one(body: bytes) -> list[Any]:
    """`application/cloudevents+json`: a list of one."""
    return [_object(_json(body))]


def several(body: bytes) -> Sequence[Any]:
    """`application/cloudevents-batch+json`. Invalid `invalid_body` for what is no list."""
    found = _json(body)
    if not isinstance(found, list):
        raise Invalid("invalid_body", "a batch is a list of events")
    return _members(body, _few(found))


def either(body: bytes) -> Sequence[Any]:
    """`application/json`: a list is a batch, an object one event."""
    found = _json(body)
    return _members(body, _few(found)) if isinstance(found, list) else [_object(found)]


def lines(body: bytes) -> Lines:
    """`application/x-ndjson`. A line that is not JSON is refused alone; empty lines are nothing."""
    return Lines(_few(list(filter(bytes.strip, body.split(b"\n")))))


@without_collector()
def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("parse_error", f"the body is not JSON: {error}") from None


def _members(body: bytes, found: list[Any]) -> Sequence[Any]:
    """The texts of a list's members, or what was found, where they cannot be cut out."""
    try:
        return Lines(list(map(bytes, _texts(body))))
    except NOT_USUAL:
        return found


def _object(document: Any) -> Any:
    if not isinstance(document, dict):
        raise Invalid("invalid_body", "an event is a JSON object")
    return document


def _few(documents: list[Any]) -> list[Any]:
    if len(documents) > MOST:
        raise TooLarge("too_many_events", f"at most {MOST} events in one request", most=MOST)
    return documents
