"""A provider's counters as it uploads them: CSV with a header, or JSON objects. Pure; nothing is taken by halves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from core.errors import Invalid, Malformed, TooLarge
from metering.events.reading import amount_of, is_text, is_unit
from metering.windows import moment_in

MOST: Final = 10_000  # counters of one upload
NEEDED: Final = ("pool", "meter", "unit", "from", "to", "quantity")
MEMBERS: Final = (*NEEDED, "customer")


@dataclass(frozen=True, slots=True)
class Counter:
    """So much was used of a pool by one meter in [start, end): by one customer, or by all (customer '')."""

    pool: str
    customer: str
    meter: str
    unit: str
    start: datetime
    end: datetime
    quantity: Decimal


def rows_of_csv(body: bytes) -> list[dict[str, Any]]:
    """The rows of a file with a header. Malformed `parse_error`, Invalid `counters_invalid`."""
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig")), strict=True)
        rows = [dict(row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Malformed("parse_error", f"the body is not CSV in UTF-8: {error}") from None
    if missing := [name for name in NEEDED if name not in (reader.fieldnames or ())]:
        raise Invalid("counters_invalid", f"the header must name {', '.join(NEEDED)}", field=missing[0])
    return _few(rows)


def rows_of_lines(body: bytes) -> list[Any]:
    """The objects of a file with one in each line. Malformed `parse_error`."""
    try:
        return _few([orjson.loads(line) for line in body.split(b"\n") if line.strip()])
    except orjson.JSONDecodeError as error:
        raise Malformed("parse_error", f"a line is not JSON: {error}") from None


def rows_of_json(body: bytes) -> list[Any]:
    """A list of objects. Malformed `parse_error`, Invalid `counters_invalid`."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("parse_error", f"the body is not JSON: {error}") from None
    if not isinstance(found, list):
        raise Invalid("counters_invalid", "a list of counters")
    return _few(found)


def _few(rows: list[Any]) -> list[Any]:
    if len(rows) > MOST:
        raise TooLarge("too_many_counters", f"at most {MOST} counters in one upload", most=MOST)
    return rows


def counters_of(rows: Sequence[Any], zone: ZoneInfo) -> list[Counter]:
    """The counters of rows; days and moments without an offset are the zone's. Invalid `counters_invalid` names row and member."""
    if not rows:
        raise Invalid("counters_invalid", "there is no counter in it")
    found = [_counter(row, f"rows.{number}", zone) for number, row in enumerate(rows)]
    seen: dict[tuple[Any, ...], int] = {}
    for number, one in enumerate(found):
        name = (one.pool, one.customer, one.meter, one.unit, one.start, one.end)
        if name in seen:
            raise Invalid("counters_invalid", f"it was given in row {seen[name]}", field=f"rows.{number}")
        seen[name] = number
    return found


def _counter(row: Any, place: str, zone: ZoneInfo) -> Counter:
    if not isinstance(row, Mapping):
        raise Invalid("counters_invalid", "a counter is an object", field=place)
    if unknown := sorted(str(name) for name in row if name not in MEMBERS):
        raise Invalid("counters_invalid", "a counter has no such member", field=f"{place}.{unknown[0]}")
    customer = row.get("customer") or ""
    for name, value in [(name, row.get(name)) for name in NEEDED] + ([("customer", customer)] if customer else []):
        if not is_text(value):
            raise Invalid("counters_invalid", "this must be given as text", field=f"{place}.{name}")
    if not is_unit(row["unit"]) or len(row["meter"]) > 64:
        raise Invalid("counters_invalid", "a meter of at most 64 characters and its unit", field=f"{place}.unit")
    quantity = amount_of(row["quantity"])
    if quantity is None:
        raise Invalid("counters_invalid", "decimal text, not negative, at most 30 digits and 12 places", field=f"{place}.quantity")
    start, end = (_moment(row[name], zone, f"{place}.{name}") for name in ("from", "to"))
    if start >= end:
        raise Invalid("counters_invalid", "the period ends before it begins", field=f"{place}.to")
    return Counter(row["pool"], customer, row["meter"], row["unit"], start, end, Decimal(quantity))


def _moment(text: str, zone: ZoneInfo, field: str) -> datetime:
    try:
        return moment_in(text, zone, field)
    except Invalid as error:
        raise Invalid("counters_invalid", error.detail, field=field) from None
