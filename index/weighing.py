"""Weights as a file says them: `node,weight` rows or a JSON object. Pure."""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final, NoReturn

from core.errors import Invalid

MOST_CHARACTERS: Final = 100_000
HEADINGS: Final = ("node", "code", "indicator")


def text_of(content: bytes) -> str:
    """A file's text, in UTF-8 or GB 18030. Invalid `weights_invalid`."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("gb18030")
    except UnicodeDecodeError:
        _refuse("the file is neither UTF-8 nor GB 18030")


def read_text(text: str) -> dict[str, str]:
    """{node: decimal text} of CSV, or of JSON where it begins with a brace. Numbers stay as they are written.

    Invalid `weights_invalid` with the line in words. Whether nodes and numbers are any is for `defining.read_weights`.
    """
    if len(text) > MOST_CHARACTERS:
        _refuse(f"longer than {MOST_CHARACTERS} characters")
    if not text.strip():
        _refuse("paste weights, or choose a file")
    found = _json(text) if text.lstrip().startswith("{") else _csv(text)
    if not found:
        _refuse("there are no weights in it")
    return found


def _json(text: str) -> dict[str, str]:
    try:
        pairs = json.loads(text, object_pairs_hook=list, parse_float=str, parse_int=str, parse_constant=str)
    except (json.JSONDecodeError, RecursionError) as error:
        _refuse(f"it is not JSON: {error}")
    return _once([(code, value, f"{code}") for code, value in pairs])


def _csv(text: str) -> dict[str, str]:
    sample = text.lstrip("\ufeff")
    mark = max(",;\t", key=sample.partition("\n")[0].count)
    try:
        rows = [
            (number, [cell.strip() for cell in row])
            for number, row in enumerate(csv.reader(io.StringIO(sample), delimiter=mark), 1)
        ]
    except csv.Error as error:
        _refuse(f"it is not CSV: {error}")
    rows = [(number, row) for number, row in rows if any(row)]
    if rows and rows[0][1][0].lower() in HEADINGS:
        rows = rows[1:]
    for number, row in rows:
        if len(row) < 2:
            _refuse(f"line {number}: a node and its weight, with a comma between")
    return _once([(row[0], row[1], f"line {number}") for number, row in rows])


def _once(pairs: list[tuple[str, Any, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for code, value, place in pairs:
        if not isinstance(value, str):
            _refuse(f"{place}: a weight is a number or decimal text")
        if code in found:
            _refuse(f"{place}: {code} is there twice")
        found[code] = value
    return found


def _refuse(why: str) -> NoReturn:
    raise Invalid("weights_invalid", why[:300], field="weights")
