"""Whether two results are close: numbers in .csv and .json files within a tolerance, everything else equal. Pure.

A file that cannot be read as what its name says is compared by its hash alone: nothing a program writes can break
a comparison, it can only lose it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from marketplace.paths import matches
from marketplace.policies import Tolerance

Files = Mapping[str, tuple[str, int]]  # path -> (sha256, bytes)
Read = Callable[[str, int], bytes | None]  # None: too large to be looked into
MAX_COMPARED: Final = 64 * 1024 * 1024
MAX_CELLS: Final = 5_000_000


def close(tolerance: Tolerance, one: Files, other: Files, read: Read) -> bool:
    """Same paths; files with numbers close, the others the same."""
    if one.keys() != other.keys():
        return False
    return all(_same_file(tolerance, path, one[path], other[path], read) for path in sorted(one))


def _same_file(tolerance: Tolerance, path: str, one: tuple[str, int], other: tuple[str, int], read: Read) -> bool:
    if one[0] == other[0]:
        return True
    if not any(matches(glob, path) for glob in tolerance.files):
        return False
    first, second = read(*one), read(*other)
    return first is not None and second is not None and close_contents(tolerance, path, first, second)


def close_contents(tolerance: Tolerance, path: str, one: bytes, other: bytes) -> bool:
    """Whether two files of this name are close."""
    if one == other:
        return True
    try:
        if path.endswith(".json"):
            return _close_values(tolerance, orjson.loads(one), orjson.loads(other))
        if path.endswith(".csv"):
            return _close_tables(tolerance, _table(one), _table(other))
    except (ValueError, csv.Error, RecursionError):
        return False
    return False


def _close_values(tolerance: Tolerance, one: Any, other: Any) -> bool:
    """JSON values: numbers close, the same keys, the same length."""
    if _is_number(one) and _is_number(other):
        return _close_numbers(tolerance, float(one), float(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close_values(tolerance, one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close_values, [tolerance] * len(one), one, other))
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _close_numbers(tolerance: Tolerance, one: float, other: float) -> bool:
    if math.isfinite(one) and math.isfinite(other):
        return tolerance.same(one, other)
    return one == other or (math.isnan(one) and math.isnan(other))


def _table(content: bytes) -> list[list[str]]:
    table = list(csv.reader(io.StringIO(content.decode())))
    if sum(map(len, table)) > MAX_CELLS:
        raise ValueError("too many cells")
    return table


def _close_tables(tolerance: Tolerance, one: Sequence[Sequence[str]], other: Sequence[Sequence[str]]) -> bool:
    """The same shape and header; cells that are numbers close (in the named columns, if any are), others the same."""
    if [len(row) for row in one] != [len(row) for row in other]:
        return False
    header = one[0] if one else []
    loose = [not tolerance.columns or name in tolerance.columns for name in header]
    rows = zip(one, other, strict=True)
    return all(
        _close_cells(tolerance, a, b) if (loose[i] if i < len(loose) else not tolerance.columns) else a == b
        for first, second in rows
        for i, (a, b) in enumerate(zip(first, second, strict=True))
    )


def _close_cells(tolerance: Tolerance, one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return _close_numbers(tolerance, float(one), float(other))
    except ValueError:
        return False
