"""A file's rows by the contract of columns, and what cannot be read of them. Pure.

CSV in UTF-8 (with or without BOM) or GB 18030, of which GB 2312 is a part; or XLSX, its first sheet. The header names columns in
any order: `region_code, indicator, year, value, unit, source` are required; `region_name_zh, region_name_en, vintage, precision,
url, licence, row_note` may be there. An empty value is missing, never 0. Lines before the header and commas at the end of lines, as
exports of statistics have them, are passed over.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import Invalid, TooLarge

REQUIRED: Final = ("region_code", "indicator", "year", "value", "unit", "source")
OPTIONAL: Final = ("region_name_zh", "region_name_en", "vintage", "precision", "url", "licence", "row_note")
MOST_BYTES: Final = 10 * 2**20
MOST_ROWS: Final = 100_000
HEADER_WITHIN: Final = 20  # lines
_UNPACKED: Final = 20 * MOST_BYTES


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the file by column; `row` counts from 1 as a spreadsheet does."""

    row: int
    cells: dict[str, str]


def read_file(content: bytes, name: str) -> list[Line]:
    """The lines below the header. Invalid `file_invalid`, `columns_missing`; TooLarge `file_too_large`."""
    if len(content) > MOST_BYTES:
        raise TooLarge("file_too_large", f"at most {MOST_BYTES // 2**20} MiB")
    sheet = list(_sheet(content) if content[:4] == b"PK\x03\x04" else _csv(content))
    at, columns = _header(sheet)
    found = [
        Line(number, {column: cell for column, cell in zip(columns, cells, strict=False) if column})
        for number, cells in enumerate(sheet[at + 1 :], at + 2)
        if any(cells)
    ]
    if len(found) > MOST_ROWS:
        raise TooLarge("file_too_large", f"at most {MOST_ROWS} rows")
    if not found:
        raise _wrong(f"{name} has a header and nothing below it")
    return found


def _header(sheet: Sequence[Sequence[str]]) -> tuple[int, list[str]]:
    """Where the header stands, and its columns."""
    best: set[str] = set()
    for at, cells in enumerate(sheet[:HEADER_WITHIN]):
        columns = [cell.lower() for cell in cells]
        there = set(columns) & set(REQUIRED)
        if there == set(REQUIRED):
            if len(there) < sum(column in REQUIRED for column in columns):
                raise Invalid("columns_missing", "a column stands twice in the header", field="file")
            return at, [column if column in (*REQUIRED, *OPTIONAL) else "" for column in columns]
        best = max(best, there, key=len)
    missing = [column for column in REQUIRED if column not in best]
    raise Invalid("columns_missing", f"the header lacks {', '.join(missing)}", field="file", missing=missing)


def _csv(content: bytes) -> Iterator[list[str]]:
    text = _text(content)
    if "\x00" in text:
        raise _wrong("it holds bytes of no text")
    try:
        for cells in csv.reader(io.StringIO(text), strict=True):
            yield _trimmed(cells)
    except csv.Error as error:
        raise _wrong(f"it is no CSV: {error}") from None


def _text(content: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _wrong("it is neither UTF-8 nor GB 18030")


def _sheet(content: bytes) -> Iterator[list[str]]:
    """The first sheet of a workbook. Formulas count by the value that was stored with them."""
    import openpyxl  # heavy: only who hands in a workbook pays for it

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(part.file_size for part in archive.infolist()) > _UNPACKED:
                raise TooLarge("file_too_large", "unpacked it is too large")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        rows: Iterable[Any] = book.worksheets[0].iter_rows(values_only=True, max_row=MOST_ROWS + HEADER_WITHIN + 2)
        yield from (_trimmed(map(_cell, row)) for row in rows)
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError, TypeError, OSError) as error:
        raise _wrong(f"it is no workbook: {error}") from None


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    return "" if value is None else str(value)


def _trimmed(cells: Iterable[str]) -> list[str]:
    found = [cell.strip() for cell in cells]
    while found and not found[-1]:
        found.pop()
    return found


def _wrong(why: str) -> Invalid:
    return Invalid("file_invalid", f"the file cannot be read: {why}", field="file")
