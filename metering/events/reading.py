"""A CloudEvent as the platform understands it, or why it does not. Pure.

CloudEvents 1.0, structured mode: `source` and `id` name the event, `type` is the meter, `subject` the customer,
`time` when it happened. Further attributes of the envelope (datacontenttype, traceparent ...) are let pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import orjson

AHEAD: Final = timedelta(minutes=5)  # a pool's clock may be this much before the platform's
OLDEST: Final = timedelta(days=35)  # what happened before that is looked at by an operator first
LARGEST_SEQ: Final = 2**63 - 1
MOST_LABELS: Final = 16
TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,200}").fullmatch
METER: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}").fullmatch
UNIT: Final = re.compile(r"[A-Za-z0-9%/_.*-]{1,24}").fullmatch
AMOUNT: Final = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,12})?").fullmatch
_NEGATIVE: Final = re.compile(r"-[0-9]+(?:\.[0-9]+)?").fullmatch
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII).fullmatch
is_uuid7: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch
_DATA: Final = frozenset({"pool", "quantity", "unit", "labels", "value", "boot_id", "seq", "gauge"})
HEARTBEAT: Final = "heartbeat"  # a meter: its source was awake just then, so customers of whom it said nothing were idle
RESERVED: Final = frozenset({"held_cores", "held_accelerators"})  # gauges of the platform's own
_TAKEN: Final = {HEARTBEAT, *RESERVED}  # meters that mean something by themselves
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an event is not taken: a stable code, the member at fault, a sentence."""

    code: str
    field: str | None
    detail: str


class Series(NamedTuple):
    """What the events of one source about one customer have in common."""

    source: str
    pool: str
    subject: str
    meter: str
    unit: str


class Amount(NamedTuple):
    """A quantity, a counter's reading, or a gauge's sample: decimal text without needless zeros."""

    quantity: str | None = None
    value: str | None = None
    boot_id: str | None = None
    seq: int | None = None
    gauge: str | None = None


class Event(NamedTuple):
    """What an event says. `at` is its time in UTC as text; `labels` is canonical JSON."""

    series: Series
    id: str
    time: datetime
    at: str
    amount: Amount
    labels: str | None
    document: dict[str, Any]

    def digest(self) -> str:
        """128 bits, in hex, of what it says: another spelling of the same number or moment is the same event."""
        _, pool, subject, meter, unit = self.series
        quantity, value, boot_id, seq, gauge = self.amount
        said = f"{self.at}\x1f{meter}\x1f{subject}\x1f{pool}\x1f{quantity}\x1f{unit}\x1f{self.labels}"
        said = f"{said}\x1f{value}\x1f{boot_id}\x1f{seq}"
        return hashed(said if gauge is None else f"{said}\x1f{gauge}")


def key_of(provider: int, source: str, name: str) -> str:
    """The event's key, 16 bytes in hex: a hash of (provider, source, id), behind the time of an id that is a UUIDv7.

    Two events of one provider share a key only if they share source and id, or by an accident of 2^-80.
    """
    key = hashed(f"{provider}\x1f{source}\x1f{name}")
    return f"{name[:8]}{name[9:13]}{key[:20]}" if is_uuid7(name) else key


def read(document: Any) -> Event | Refused:
    """The event, or the first thing that is wrong with it. Never raises."""
    if not isinstance(document, dict):
        return Refused("not_an_event", None, "an event is a JSON object")
    if document.get("specversion") != "1.0":
        return Refused("specversion", "specversion", "this door speaks CloudEvents 1.0")
    for name, fits in _ENVELOPE:
        value = document.get(name)
        if not isinstance(value, str) or not fits(value):
            return Refused("invalid", name, _WANTED[name])
    if document["type"] in RESERVED:
        return Refused("meter_reserved", "type", "the platform measures this itself")
    moment = moment_of(document["time"])
    if moment is None:
        return Refused("invalid", "time", _WANTED["time"])
    data = document.get("data")
    if not isinstance(data, dict):
        return Refused("invalid", "data", "an object with pool, quantity and unit")
    wrong = _wrong_with(data)
    return wrong or _event(document, data, moment)


_ENVELOPE: Final = (("id", TEXT), ("source", TEXT), ("type", METER), ("subject", TEXT), ("time", _MOMENT))
_WANTED: Final = {
    "id": "text of 1 to 200 characters, none of them a control character",
    "source": "text of 1 to 200 characters, none of them a control character",
    "type": "the meter: lower-case letters, digits, _ . -, at most 64",
    "subject": "the customer organization's short name",
    "time": "a moment with its zone, RFC 3339, since 1970",
}


def moment_of(text: str) -> datetime | None:
    """RFC 3339 as UTC; beyond microseconds it is cut. None for a moment that no calendar has."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        return moment if moment >= EARLIEST else None
    except (ValueError, OverflowError):
        return None


def _wrong_with(data: dict[str, Any]) -> Refused | None:
    if not _DATA.issuperset(data):
        return Refused("unknown_field", f"data.{min(map(str, set(data) - _DATA))}", "there is no such field")
    for name, fits, wanted in (("pool", TEXT, "a pool's identifier"), ("unit", UNIT, "a unit, at most 24 characters")):
        if not isinstance(data.get(name), str) or not fits(data[name]):
            return Refused("invalid", f"data.{name}", wanted)
    if data.get("labels") is not None and not are_labels(data["labels"]):
        return Refused("invalid", "data.labels", f"at most {MOST_LABELS} labels, text to text")
    kinds = [name for name in ("quantity", "value", "gauge") if name in data]
    if len(kinds) != 1:
        detail = "either a quantity, or a counter's value with boot_id and seq, or a gauge's sample"
        return Refused("quantity_or_value", "data.quantity", detail)
    if kinds != ["value"]:
        return _wrong_with_amount(data, kinds[0]) or _wrong_with_leftovers(data)
    return _wrong_with_amount(data, "value") or _wrong_with_counter(data)


def _wrong_with_amount(data: dict[str, Any], name: str) -> Refused | None:
    text = data[name]
    if isinstance(text, str) and AMOUNT(text):
        return None
    if isinstance(text, str) and _NEGATIVE(text):
        return Refused("negative", f"data.{name}", "usage is never negative")
    return Refused("invalid", f"data.{name}", "decimal text, at most 30 digits and 12 places, for example \"0.25\"")


def _wrong_with_leftovers(data: dict[str, Any]) -> Refused | None:
    name = next((name for name in ("boot_id", "seq") if name in data), None)
    return Refused("invalid", f"data.{name}", "only a counter's value has it") if name else None


def _wrong_with_counter(data: dict[str, Any]) -> Refused | None:
    boot, seq = data.get("boot_id"), data.get("seq")
    if not isinstance(boot, str) or not TEXT(boot) or len(boot) > 64:
        return Refused("invalid", "data.boot_id", "text of 1 to 64 characters, another one after each start from 0")
    if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq <= LARGEST_SEQ:
        return Refused("invalid", "data.seq", "a whole number that grows by one with each reading of a boot")
    return None


def are_labels(labels: Any) -> bool:
    if not isinstance(labels, dict) or len(labels) > MOST_LABELS:
        return False
    return all(TEXT(name) and len(name) <= 63 and isinstance(value, str) and TEXT(value) for name, value in labels.items())


def plain(amount: str) -> str:
    """Decimal text in its shortest form.

    >>> plain("007.500"), plain("0.0")
    ('7.5', '0')
    """
    whole, _, part = amount.partition(".")
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    return f"{whole}.{part}" if part else whole


def is_meter(name: Any) -> bool:
    """Whether pools may report so much of it."""
    return isinstance(name, str) and name not in _TAKEN and bool(METER(name))


def is_unit(name: Any) -> bool:
    """Whether events may be counted in it."""
    return isinstance(name, str) and bool(UNIT(name))


def is_text(value: Any) -> bool:
    """1 to 200 characters, none of them a control character: what sources and ids are."""
    return isinstance(value, str) and bool(TEXT(value))


def amount_of(text: Any) -> str | None:
    """Decimal text of an amount in its shortest form, or None."""
    return plain(text) if isinstance(text, str) and AMOUNT(text) else None


def hashed(text: str) -> str:
    """128 bits, in hex."""
    return blake2b(text.encode(), digest_size=16).hexdigest()


def canonical(labels: dict[str, str]) -> str:
    """One spelling of the same labels."""
    return orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode()


def _event(document: dict[str, Any], data: dict[str, Any], moment: datetime) -> Event:
    labels = data.get("labels") or None
    series = Series(document["source"], data["pool"], document["subject"], document["type"], data["unit"])
    quantity, value, gauge = (plain(data[name]) if name in data else None for name in ("quantity", "value", "gauge"))
    amount = Amount(quantity, value, data.get("boot_id"), data.get("seq"), gauge)
    return Event(series, document["id"], moment, moment.isoformat(" "), amount, canonical(labels) if labels else None, document)
