"""What a day's facts come to by the steps of its terms. Pure; everything in basis points and whole numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import orjson

from core.errors import Invalid
from core.money import BASIS_POINTS

Steps = Sequence[Sequence[int]]
MOST_STEPS: Final = 10


def checked(steps: Steps) -> list[list[int]]:
    """Steps as they are kept: thresholds falling, credits rising. Raises Invalid `sla_steps_invalid`.

    >>> checked([[9900, 1000], [9500, 2500]])
    [[9900, 1000], [9500, 2500]]
    """
    if not 1 <= len(steps) <= MOST_STEPS or any(len(step) != 2 for step in steps):
        raise Invalid("sla_steps_invalid", f"1 to {MOST_STEPS} steps, each a threshold and a credit", field="steps")
    for threshold, credit in steps:
        if not (0 < threshold <= BASIS_POINTS and 0 < credit <= BASIS_POINTS):
            raise Invalid("sla_steps_invalid", f"thresholds and credits are basis points, 1 to {BASIS_POINTS}", field="steps")
    if any(not (below < above and more > less) for (above, less), (below, more) in pairwise(steps)):
        raise Invalid("sla_steps_invalid", "each step has a lower threshold and a higher credit than the last", field="steps")
    return [list(step) for step in steps]


def credit_of(steps: Steps, good: int, total: int, minimum: int) -> int:
    """How much of the day's charges is given back: the credit of the lowest threshold that the day stayed below; 0: none.

    A day with less than `minimum` is not judged. No ratio is rounded: good / total is compared exactly.

    >>> steps = [[9900, 1000], [9500, 2500]]
    >>> [credit_of(steps, good, 100, 1) for good in (100, 99, 98, 95, 94)], credit_of(steps, 0, 3, 5)
    ([0, 0, 1000, 1000, 2500], 0)
    """
    if total < max(minimum, 1):
        return 0
    return max((credit for threshold, credit in steps if good * BASIS_POINTS < threshold * total), default=0)


def least_of(kind: str, minimum: int) -> int:
    """A day's least to be judged, in what is counted: tasks, or core milliseconds."""
    return minimum * 1000 if kind == "availability" else minimum


def share_of(micros: int, credit: int) -> int:
    """What a credit in basis points is of an amount, half up; never more than the amount.

    >>> share_of(10_000_003, 2500), share_of(1, 5000), share_of(1, 10_000)
    (2500001, 1, 1)
    """
    return (micros * credit + BASIS_POINTS // 2) // BASIS_POINTS


def digest_of(evidence: Mapping[str, Any]) -> bytes:
    """SHA-256 of the canonical bytes: JSON in UTF-8, members sorted, no white space."""
    return hashlib.sha256(orjson.dumps(evidence, option=orjson.OPT_SORT_KEYS)).digest()
