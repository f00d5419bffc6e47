"""The slots of a local day: five minutes each, counted from the day's first instant. The one place where zones are used.

Instants are UTC microseconds (int). A day that is not a multiple of five minutes long (zones before standard time) ends in a
shorter slot; a day that a zone left out (Samoa, 30 December 2011) has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SLOT_US: Final = 300 * 1_000_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of a month in which a subject was active, each with its number of slots.

    days        (local day, slots) in order
    month_days  all days of the month: the day factor's denominator
    """

    days: tuple[tuple[date, int], ...]
    month_days: int


def micros_of(moment: datetime) -> int:
    """An aware datetime as UTC microseconds since 1970, exact."""
    return (moment - EPOCH) // _MICROSECOND


def moment_of(micros: int) -> datetime:
    """The reverse of `micros_of`, in UTC."""
    return EPOCH + timedelta(microseconds=micros)


def day_start(day: date, zone: ZoneInfo) -> int:
    """The first instant whose local date is `day` or later, in UTC microseconds.

    That is local midnight; where clocks skip midnight it is the instant of the change; of two midnights it is the first.
    """
    midnight = datetime.combine(day, time(), zone)
    early, late = (micros_of(midnight.replace(fold=fold).astimezone(UTC)) for fold in (1, 0))
    if early >= late:  # midnight is there, once (equal) or twice (fold 0 is the first)
        return late
    while late - early > 1:  # it is skipped: the change lies in (early, late]
        middle = (early + late) // 2
        if moment_of(middle).astimezone(zone).date() >= day:
            late = middle
        else:
            early = middle
    return late


def width_of(day: date, zone: ZoneInfo) -> int:
    """How many slots the day has: 288; 276 and 300 where clocks go forward and back by an hour.

    >>> width_of(date(2026, 3, 29), ZoneInfo("Europe/Berlin"))
    276
    """
    length = day_start(day + timedelta(days=1), zone) - day_start(day, zone)
    return -(-length // SLOT_US)


def slot_start(day: date, slot: int, zone: ZoneInfo) -> int:
    """When a slot (from 0) begins, in UTC microseconds."""
    return day_start(day, zone) + slot * SLOT_US


def edges_of(day: date, zone: ZoneInfo) -> list[int]:
    """The bounds of the day's slots: width + 1 instants."""
    end = day_start(day + timedelta(days=1), zone)
    return [*range(day_start(day, zone), end, SLOT_US), end]


def calendar_of(month: date, zone: ZoneInfo, active_from: date | None = None, active_to: date | None = None) -> Calendar:
    """The month of `month`, without the days before `active_from` and from `active_to` on (half-open)."""
    first = month.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    length = (following - first).days
    every = [first + timedelta(days=n) for n in range(length)]
    active = [day for day in every if (active_from or first) <= day < (active_to or following)]
    return Calendar(tuple((day, width_of(day, zone)) for day in active), length)
