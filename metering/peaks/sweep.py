"""From intervals to slots: how much was held at once. Pure, whole numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from core.errors import Invalid

DIRECTIONS: Final = ("in", "out", "max", "sum")
SLOT_STATS: Final = ("avg", "max")


@dataclass(frozen=True, slots=True)
class Interval:
    """`amount` of the meter's unit was held in [start, end), UTC microseconds."""

    start: int
    end: int
    amount: int


def levels_of(intervals: Iterable[Interval]) -> list[tuple[int, int]]:
    """(instant, what is held from then on), in order; it ends with 0.

    All changes of an instant are summed before they are cumulated: a task that begins where another ends does not stack on it.

    >>> levels_of([Interval(0, 10, 4), Interval(10, 20, 4)])
    [(0, 4), (20, 0)]
    """
    changes: Counter[int] = Counter()
    for interval in intervals:
        if interval.end > interval.start:
            changes[interval.start] += interval.amount
            changes[interval.end] -= interval.amount
    levels, held = [], 0
    for instant, change in sorted(changes.items()):
        held += change
        if change:
            levels.append((instant, held))
    return levels


def slots_of(levels: Sequence[tuple[int, int]], edges: Sequence[int], stat: str) -> list[int]:
    """One whole number per slot between `edges`.

    max  the most that was held at any instant of the slot
    avg  the time-weighted mean, its fraction cut off (as Huawei's bandwidth samples): take a small unit, milli-GPUs or bit/s
    """
    slots = []
    for start, end, pieces in _by_slot(levels, edges):
        if stat == "max":
            slots.append(max((held for _, held in pieces), default=0))
        else:
            slots.append(sum(held * length for length, held in pieces) // (end - start))
    return slots


def _by_slot(levels: Sequence[tuple[int, int]], edges: Sequence[int]) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """(start, end, [(length, held)]) of each slot, in one pass."""
    held, at = 0, 0
    for start, end in pairwise(edges):
        pieces, since = [], start
        while at < len(levels) and levels[at][0] < end:
            instant, after = levels[at]
            if instant > since:
                pieces.append((instant - since, held))
                since = instant
            held, at = after, at + 1
        pieces.append((end - since, held))
        yield start, end, pieces


def directed(inward: Sequence[int | None], outward: Sequence[int | None], direction: str) -> tuple[int | None, ...]:
    """The slots of a two-way meter, seen in one direction. A slot is unknown if a side that counts is."""
    if direction not in DIRECTIONS:
        raise Invalid("peak_policy_invalid", f"direction is one of {', '.join(DIRECTIONS)}", field="direction")
    if direction == "in":
        return tuple(inward)
    if direction == "out":
        return tuple(outward)
    both = zip(inward, outward, strict=True)
    return tuple(None if a is None or b is None else (max(a, b) if direction == "max" else a + b) for a, b in both)
