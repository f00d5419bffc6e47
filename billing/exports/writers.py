"""Rows as CSV and as Parquet, in constant memory: a portion of rows at a time, with the file's SHA-256.

CSV      UTF-8, RFC 4180, a header, `\\r\\n`. Null is an empty cell. Decimals have a point and at least one place after it,
         moments are `YYYY-MM-DDTHH:MM:SSZ`. Text that a spreadsheet would run begins with an apostrophe; numbers do not.
Parquet  decimal(38, 21), which holds a quantity of 9 places times a price of 12, and decimal(38, 12) for what has no more places;
         integers of 64 bits; timestamps in UTC; text and JSON as strings. The schema's name stands in the file's metadata.
APEL     `apel.py`: archives of messages
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from itertools import islice
from typing import IO, Any, Final

from billing.exports import apel
from billing.exports.columns import Column
from core.errors import Invalid
from core.spreadsheets import safe_cell

Rows = Iterable[dict[str, Any]]
PORTION: Final = 5000
PLACES: Final = 21


@dataclass(frozen=True, slots=True)
class Written:
    """A file that was written: how many rows and bytes, and its SHA-256."""

    rows: int
    size: int
    digest: bytes


class _Counting(io.RawIOBase):
    """A file that counts and digests what goes through it."""

    def __init__(self, target: IO[bytes]) -> None:
        self.target, self.sum, self.size = target, sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self.target.write(piece)
        self.sum.update(piece)
        self.size += len(piece)
        return len(piece)


def write(form: str, columns: Sequence[Column], rows: Rows, target: IO[bytes], schema: str = "") -> Written:
    """Write rows in one of FORMATS. A row's missing names are null. Returns what was written.

    Raises Invalid `number_too_large` for what the format cannot hold.
    """
    out = _Counting(target)
    count = FORMATS[form].write(columns, rows, out, schema)
    return Written(count, out.size, out.sum.digest())


def portions(rows: Rows) -> Iterator[list[dict[str, Any]]]:
    """Rows, at most PORTION at a time."""
    flow = iter(rows)
    while portion := list(islice(flow, PORTION)):
        yield portion


def cell(column: Column, value: Any) -> str:
    """A value as a cell of CSV.

    >>> cell(Column("a", "decimal", "ours"), Decimal("1E+3")), cell(Column("a", "text", "ours"), "=1+1")
    ('1000.0', "'=1+1")
    """
    if value is None:
        return ""
    if column.kind in {"decimal", "number"}:
        text = f"{value:f}"
        text = text.rstrip("0") if "." in text else f"{text}."
        return text + "0" if text.endswith(".") else text
    return safe_cell(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, dict) else str(value)


def _csv(columns: Sequence[Column], rows: Rows, out: io.RawIOBase, schema: str) -> int:
    out.write(_lines([[column.name for column in columns]]))
    count = 0
    for portion in portions(rows):
        count += len(portion)
        out.write(_lines([[cell(column, row.get(column.name)) for column in columns] for row in portion]))
    return count


def _lines(cells: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(cells)
    return text.getvalue().encode()


def _parquet(columns: Sequence[Column], rows: Rows, out: io.RawIOBase, schema: str) -> int:
    import pyarrow as pa  # heavy: only who writes Parquet pays for it
    import pyarrow.parquet as pq

    types = {
        "decimal": pa.decimal128(38, PLACES),
        "number": pa.decimal128(38, 12),
        "integer": pa.int64(),
        "moment": pa.timestamp("ms", tz="UTC"),
    }
    fields = [pa.field(one.name, types.get(one.kind, pa.string()), one.nullable) for one in columns]
    shape = pa.schema(fields, {"gridfare.schema": schema} if schema else None)
    count = 0
    with pq.ParquetWriter(out, shape, compression="zstd") as writer:
        for portion in portions(rows):
            count += len(portion)
            data = {one.name: [_value(one, row.get(one.name)) for row in portion] for one in columns}
            try:
                writer.write_table(pa.table(data, schema=shape))
            except pa.ArrowInvalid as error:
                raise Invalid("number_too_large", f"Parquet cannot hold it, CSV can: {error}", field="format") from None
    return count


def _value(column: Column, value: Any) -> Any:
    if value is None or column.kind in {"moment", "integer"}:
        return value
    return value if isinstance(value, Decimal) else _text(value)


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write rows down, and how a file of it is called."""

    write: Callable[[Sequence[Column], Rows, io.RawIOBase, str], int]
    media_type: str
    suffix: str


FORMATS: Final = {
    "csv": Format(_csv, "text/csv; charset=utf-8", "csv"),
    "parquet": Format(_parquet, "application/vnd.apache.parquet", "parquet"),
    "messages": Format(apel.jobs, "application/x-tar", "tar"),
    "json": Format(apel.accelerators, "application/x-tar", "tar"),
}
TABULAR: Final = ("csv", "parquet")
