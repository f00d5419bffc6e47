"""Peaks in fractions and loops, written from the vendors' sentences and not from the code: what the code is held against."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Any


def day_value(kind: str, k: int, slots: Sequence[int]) -> int:
    """Take the highest away, one at a time, until the one that is billed is the highest."""
    left = list(slots)
    away = {"day_max": 0, "day_kth": min(k, len(left)) - 1, "day_p95": (len(left) * 5) // 100}[kind]
    for _ in range(away):
        left.remove(max(left))
    return max(left)


def nearest_rank(values: Sequence[int]) -> int:
    """The smallest value that at least 95 % of all values do not exceed."""
    ordered = sorted(values)
    return ordered[ceil(Fraction(95, 100) * len(ordered)) - 1]


def value_of(policy: Any, days: Sequence[Sequence[int | None]], *, leave_unknown_out: bool = False) -> Fraction | None:
    """A month's value over days that already are the valid ones."""
    ways = [[slot or 0 for slot in day] for day in days]
    if leave_unknown_out:
        ways = [known for day in days if (known := [slot for slot in day if slot is not None])]
    if not ways:
        return None
    if policy.kind == "month_p95":
        return Fraction(nearest_rank([slot for day in ways for slot in day]))
    peaks = [day_value(policy.day, policy.day_k, day) for day in ways]
    if policy.kind == "month_max":
        return Fraction(max(peaks))
    if policy.kind == "month_topk_mean":
        peaks = sorted(peaks)[-policy.k :]
    return sum(map(Fraction, peaks), Fraction(0)) / len(peaks)


def held_at(intervals: Sequence[tuple[int, int, int]], instant: int) -> int:
    """What is held at one instant, by asking every interval."""
    return sum(amount for start, end, amount in intervals if start <= instant < end)
