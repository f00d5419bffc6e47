"""Which local days hours of UTC lie in, and where those begin and end. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from metering.peaks.grid import day_start, moment_of, width_of

LAST: Final = timedelta(hours=1) - timedelta(microseconds=1)
Subject = tuple[int, int, str, str, str]  # customer, pool, meter, unit, zone


@dataclass(frozen=True, slots=True)
class LocalDay:
    """A day of a zone, [begins, ends), in `width` slots."""

    day: date
    begins: datetime
    ends: datetime
    width: int


@lru_cache(maxsize=20_000)
def local_day(day: date, zone: str) -> LocalDay:
    """The bounds of a day."""
    there = ZoneInfo(zone)
    begins, ends = (moment_of(day_start(one, there)) for one in (day, day + timedelta(days=1)))
    return LocalDay(day, begins, ends, width_of(day, there))


def days_of_hour(hour: datetime, zone: str) -> set[date]:
    """One day, or two where a zone is not whole hours away."""
    there = ZoneInfo(zone)
    return {moment.astimezone(there).date() for moment in (hour, hour + LAST)}


def wanted_of(hours: Iterable[tuple[Subject, datetime]]) -> list[tuple[Subject, LocalDay]]:
    """The days that these hours touch, each once, in order."""
    found = {(subject, day) for subject, hour in hours for day in days_of_hour(hour, subject[4])}
    return [(subject, local_day(day, subject[4])) for subject, day in sorted(found)]


def arrays_of(wanted: Iterable[tuple[int, Subject, LocalDay]]) -> dict[str, list[Any]]:
    """(number of the subject, subject, day) as `metering.days_sql.WANTED` asks for them: a list per column."""
    rows = [(number, *subject[:4], day.day, day.begins, day.ends, day.width) for number, subject, day in wanted]
    columns = zip(*rows, strict=True) if rows else ([],) * len(_COLUMNS)
    return {f"wanted_{name}": list(column) for name, column in zip(_COLUMNS, columns, strict=True)}


_COLUMNS: Final = ("subject", "customer", "pool", "meter", "unit", "day", "begins", "ends", "width")
