"""The data set of a task: the built-in handwritten digits, or the user's CSV file."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from problems import BadInput

MOST_CLASSES = 50
MOST_WORDS = 50


@dataclass(frozen=True)
class Table:
    """`features` (rows, columns): floats with NaN for gaps, or words; `target` (rows,): class numbers."""

    name: str
    features: np.ndarray
    columns: list[str]
    words: list[int]
    target: np.ndarray
    classes: list[str]

    @property
    def numbers(self) -> list[int]:
        """Positions of the numeric columns; `words` has the others."""
        return [position for position in range(len(self.columns)) if position not in set(self.words)]


def load(path: Path | None, inputs: dict[str, Any]) -> Table:
    """The task's table, checked. Raises BadInput."""
    table = digits() if path is None else from_csv(path, inputs.get("target"), inputs["ignore"])
    fewest, most = np.bincount(table.target).min(), len(table.classes)
    if most < 2 or most > MOST_CLASSES:
        raise BadInput(f"The target has {most} different values; between 2 and {MOST_CLASSES} can be told apart.")
    if fewest < inputs["folds"]:
        raise BadInput(f"The rarest class has {fewest} rows, fewer than the {inputs['folds']} folds; use fewer folds.")
    return table


def digits() -> Table:
    """1,797 handwritten digits of 8 x 8 grey values (UCI Optical Recognition of Handwritten Digits)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    classes = [str(name) for name in bunch.target_names]
    return Table("handwritten digits", bunch.data, list(bunch.feature_names), [], bunch.target, classes)


def from_csv(path: Path, target: str | None, ignore: list[str]) -> Table:
    """A CSV file with a header line; a column of words becomes categories."""
    header, rows = read(path)
    if not target:
        raise BadInput(f"Name the target column; {path.name} has the columns {shown(header)}.")
    for name in [target, *ignore]:
        if name not in header:
            raise BadInput(f"{path.name} has no column {name!r}; it has {shown(header)}.")
    classes, numbers = np.unique(labels(rows, header.index(target), target), return_inverse=True)
    kept = [position for position, name in enumerate(header) if name != target and name not in ignore]
    if not kept:
        raise BadInput("There is no column left to learn from.")
    columns = [column([row[position] for row in rows], header[position]) for position in kept]
    words = [position for position, values in enumerate(columns) if values.dtype == object]
    features = np.column_stack(columns)
    return Table(
        path.name,
        features,
        [header[position] for position in kept],
        words,
        numbers,
        [str(c) for c in classes],
    )


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV file: comma, semicolon or tab between the values, UTF-8."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        rows = [row for row in csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count)) if row]
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is not UTF-8 text.") from error
    except csv.Error as error:
        raise BadInput(f"{path.name} is not a CSV file: {error}.") from error
    if len(rows) < 3:
        raise BadInput(f"{path.name} needs a header line and at least two rows.")
    header = [name.strip() for name in rows[0]]
    if len(set(header)) < len(header) or not all(header):
        raise BadInput(f"The header of {path.name} has an empty or repeated name.")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise BadInput(f"Row {number} of {path.name} has {len(row)} values, the header has {len(header)}.")
    return header, rows[1:]


def shown(names: list[str], most: int = 12) -> str:
    """Names for a message, not too many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def labels(rows: list[list[str]], position: int, target: str) -> list[str]:
    """The target's values; none may be missing."""
    values = [row[position].strip() for row in rows]
    if "" in values:
        raise BadInput(f"The target {target!r} is empty in row {values.index('') + 2}.")
    if len(set(values)) > MOST_CLASSES:
        raise BadInput(
            f"The target {target!r} has {len(set(values))} different values; at most {MOST_CLASSES} classes are possible."
        )
    return values


def column(values: list[str], name: str) -> np.ndarray:
    """One column as floats (gaps are NaN) or, when a value is no number, as words."""
    try:
        numbers = np.array([float(value) if value.strip() else math.nan for value in values])
    except ValueError:
        return categories(values, name)
    if np.isinf(numbers).any() or np.isnan(numbers).all():
        raise BadInput(f"The column {name!r} is empty or holds an infinite number; fix it or name it in `ignore`.")
    return numbers


def categories(values: list[str], name: str) -> np.ndarray:
    """A column of words, few enough to be categories."""
    words = [value.strip() for value in values]
    if len(set(words)) > MOST_WORDS:
        raise BadInput(f"The column {name!r} has {len(set(words))} different words; name it in `ignore`.")
    return np.array(words, dtype=object)
