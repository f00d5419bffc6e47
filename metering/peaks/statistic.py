"""The days' slots -> the peak, by policy. Pure and exact; `metering/peaks_sql.py` says the same in SQL.

A slot nobody can vouch for is None. It counts 0 in the first way, which is billed, and is left out of the sample in the
other; `settle` sends a charge to review when more than one slot in a hundred is unknown.

Of equal slots the earliest is the winner; those removed above it are taken from the latest: so the winner is never removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from core.errors import Invalid
from metering.peaks.grid import Calendar
from metering.peaks.policy import Policy

LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Day:
    """What a subject's meter held in each slot of a local day: whole numbers, None where unknown."""

    local_day: date
    slots: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Winner:
    """A slot (from 0) whose value is billed, and its rank from the top in the sample that it was taken from (from 1)."""

    local_day: date
    slot: int
    value: int
    rank: int


@dataclass(frozen=True, slots=True)
class Peak:
    """A peak: `total / parts`, in the meter's unit.

    local_day    of daily policies; None for a month's
    winners      the slots that make it: one, or one per averaged day (highest day first)
    samples      what the last rank was taken from: slots (daily, month_p95) or days
    valid_days   days that counted
    width        slots of the days that were recorded
    unknown      how many of those are unknown
    other        the same with unknown slots left out of the sample: (total, parts); parts 0 if nothing is known
    """

    local_day: date | None
    total: int
    parts: int
    winners: tuple[Winner, ...]
    samples: int
    valid_days: int
    width: int
    unknown: int
    other: tuple[int, int]

    @property
    def value(self) -> Fraction:
        """Exact."""
        return Fraction(self.total, self.parts)

    @property
    def other_value(self) -> Fraction | None:
        """The value with unknown slots left out."""
        return Fraction(*self.other) if self.other[1] else None


def peaks_of(policy: Policy, days: Iterable[Day], calendar: Calendar) -> list[Peak]:
    """One peak per valid day (daily policies), or the month's; empty when no day is valid.

    Days outside of the calendar do not count. With valid_days = active, days of the calendar that were not recorded count 0.
    """
    recorded = recorded_of(days, calendar)
    valid = valid_of(policy, recorded, calendar)
    if policy.daily:
        return [_day_peak(policy, day) for day in valid]
    if not valid:
        return []
    return [_month_p95(valid, recorded) if policy.kind == "month_p95" else _of_days(policy, valid, recorded)]


def recorded_of(days: Iterable[Day], calendar: Calendar) -> list[Day]:
    """The days within the calendar, in order. Raises Invalid `slots_invalid`."""
    widths = dict(calendar.days)
    recorded = sorted((day for day in days if day.local_day in widths), key=lambda day: day.local_day)
    if len({day.local_day for day in recorded}) < len(recorded):
        raise Invalid("slots_invalid", "a day is there twice", field="days")
    for day in recorded:
        if len(day.slots) != widths[day.local_day]:
            raise Invalid("slots_invalid", f"{day.local_day} has {widths[day.local_day]} slots", field="days")
        if not all(slot is None or 0 <= slot <= LARGEST for slot in day.slots):
            raise Invalid("slots_invalid", f"a slot of {day.local_day} is negative or too large", field="days")
    return recorded


def valid_of(policy: Policy, recorded: Sequence[Day], calendar: Calendar) -> list[Day]:
    """The days that count; active ones that were not recorded are all zeros."""
    if policy.valid_days == "used":
        return [day for day in recorded if any(slot is not None and slot > policy.above for slot in day.slots)]
    there = {day.local_day: day for day in recorded}
    return [there.get(day) or Day(day, (0,) * width) for day, width in calendar.days if width]


def rank_of(kind: str, k: int, samples: int) -> int:
    """The rank from the top that is billed of so many samples; everything above it is removed.

    `samples - samples // 20` from below is the nearest rank of 95 %, percentile_disc(0.95), and "the highest 5 % removed,
    the fraction of their number discarded": all in whole numbers.
    """
    if kind == "day_kth":
        return min(k, samples)
    return samples // 20 + 1 if kind.endswith("p95") else 1


def best_of(kind: str, k: int, days: Sequence[Day]) -> Winner | None:
    """The billed slot of all slots of these days together; None where no slot is known and none counts 0."""
    at = [(slot, day.local_day, number) for day in days for number, slot in enumerate(day.slots) if slot is not None]
    if not at:
        return None
    rank = rank_of(kind, k, len(at))
    value = sorted((slot for slot, _, _ in at), reverse=True)[rank - 1]
    _, local_day, number = next(place for place in at if place[0] == value)
    return Winner(local_day, number, value, rank)


def zeroed(day: Day) -> Day:
    """The first way: what is unknown counts 0."""
    return Day(day.local_day, tuple(slot or 0 for slot in day.slots))


def _day_peak(policy: Policy, day: Day) -> Peak:
    winner, other = (best_of(*policy.day_rule, [way]) for way in (zeroed(day), day))
    assert winner is not None  # noqa: S101 a valid day has slots, and zeroed they are all known
    unknown = day.slots.count(None)
    width = len(day.slots)
    return Peak(day.local_day, winner.value, 1, (winner,), width, 1, width, unknown, _single(other))


def _month_p95(valid: Sequence[Day], recorded: Sequence[Day]) -> Peak:
    winner, other = (best_of("month_p95", 0, way) for way in ([zeroed(day) for day in valid], valid))
    assert winner is not None  # noqa: S101
    samples = sum(len(day.slots) for day in valid)
    return Peak(None, winner.value, 1, (winner,), samples, len(valid), *_known(recorded), _single(other))


def _of_days(policy: Policy, valid: Sequence[Day], recorded: Sequence[Day]) -> Peak:
    first = _highest(policy, [zeroed(day) for day in valid])
    other = _highest(policy, valid)
    total, others = (sum(winner.value for winner in winners) for winners in (first, other))
    known = _known(recorded)
    return Peak(None, total, len(first), tuple(first), len(valid), len(valid), *known, (others, len(other)))


def _highest(policy: Policy, days: Sequence[Day]) -> list[Winner]:
    """The peaks of the highest days: so many as are averaged, ties to the earlier day."""
    winners = [winner for day in days if (winner := best_of(*policy.day_rule, [day]))]
    return sorted(winners, key=lambda winner: (-winner.value, winner.local_day))[: policy.days_taken]


def _known(recorded: Sequence[Day]) -> tuple[int, int]:
    return sum(len(day.slots) for day in recorded), sum(day.slots.count(None) for day in recorded)


def _single(winner: Winner | None) -> tuple[int, int]:
    return (winner.value, 1) if winner else (0, 0)
