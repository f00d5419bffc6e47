"""Text for spreadsheets, which run what begins like a formula."""

from __future__ import annotations

from typing import Any


def safe_cell(value: Any) -> str:
    """Text for a spreadsheet: what would be run as a formula is quoted by an apostrophe, numbers stay numbers.

    >>> safe_cell("=1+1"), safe_cell("-2.5"), safe_cell(None)
    ("'=1+1", '-2.5', '')
    """
    text = "" if value is None else str(value)
    is_number = text.removeprefix("-").replace(".", "", 1).isdecimal()
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"} and not is_number else text
