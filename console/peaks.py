"""The proof of a peak as a drawing and as tables. Pure: the evidence's document in, numbers for a template out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

WIDTH: Final = 1000.0
HEIGHT: Final = 120.0
MOST_DAYS: Final = 5  # days that are drawn slot by slot
MOST_REMOVED: Final = 60  # removed slots that are listed


@dataclass(frozen=True)
class Bar:
    """A bar of a chart, from the ground up. `tone`: won, removed, or nothing."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True)
class Slot:
    """Five minutes of the customer's day, and how much was held then."""

    day: str
    time: str
    value: str
    rank: int | None = None


@dataclass(frozen=True)
class Peaks:
    """What a page shows of a peak: how high each day was, the days that decided slot by slot, and the slots by name."""

    days: list[Bar]
    slots: list[tuple[str, list[Bar]]]
    found: list[dict[str, Any]]
    winners: list[Slot]
    removed: list[Slot]
    removed_count: int
    last_day: str
    width: float = WIDTH
    height: float = HEIGHT


def drawn(document: Mapping[str, Any], zone: str) -> Peaks:
    """The `peaks` of a charge's evidence; times are those of the zone."""
    scale = document["steps_of_a_unit"]
    found: list[Mapping[str, Any]] = document["found"]
    days: dict[str, list[int | None]] = {one["local_day"]: one["slots"] for one in document["days"]}
    winners = [one for peak in found for one in peak["winners"]]
    removed = [one for peak in found for one in peak["removed"]]
    top = max((slot or 0 for slots in days.values() for slot in slots), default=0)
    won = {one["local_day"] for one in winners}
    shown = [day for day in days if day in won][:MOST_DAYS]
    marks = _marks(winners, removed)
    highest = [(day, max((slot or 0 for slot in slots), default=0)) for day, slots in days.items()]
    return Peaks(
        days=_bars(highest, top, scale, dict.fromkeys(won, "won")),
        slots=[(day, _slots(day, days[day], top, scale, marks)) for day in shown],
        found=[_told(peak, scale) for peak in found],
        winners=[_slot(one, scale, zone) for one in winners],
        removed=[_slot(one, scale, zone) for one in islice(removed, MOST_REMOVED)],
        removed_count=len(removed),
        last_day=max(days, default=""),
    )


def _marks(winners: Sequence[Mapping[str, Any]], removed: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    marks = {(one["local_day"], one["slot"]): "removed" for one in removed}
    return marks | {(one["local_day"], one["slot"]): "won" for one in winners}


def _slots(day: str, slots: Sequence[int | None], top: int, scale: int, marks: Mapping[tuple[str, int], str]) -> list[Bar]:
    named = [(str(number), slot or 0) for number, slot in enumerate(slots)]
    return _bars(named, top, scale, {str(slot): tone for (of, slot), tone in marks.items() if of == day})


def _bars(values: Sequence[tuple[str, int]], top: int, scale: int, tones: Mapping[str, str]) -> list[Bar]:
    """A bar for each value that is not zero, all on one ground and one scale."""
    width = WIDTH / max(len(values), 1)
    gap = 0.0 if width < 8 else width * 0.15
    found = []
    for place, (name, value) in enumerate(values):
        if value > 0:
            height = round(HEIGHT * value / top, 2)
            title = f"{name}: {units(value, scale)}"
            found.append(Bar(round(place * width, 2), HEIGHT - height, round(width - gap, 2), height, tones.get(name, ""), title))
    return found


def units(steps: int, scale: int) -> str:
    """Steps of a unit as units.

    >>> units(2500, 1000), units(4000, 1000)
    ('2.5', '4')
    """
    return f"{(Decimal(steps) / scale).normalize():f}"


def _told(peak: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """A peak with its values in units, and its day where it has one."""
    (first, *others) = peak["winners"]
    day = first["local_day"] if not others else ""
    return {**peak, "day": day, "value": in_units(peak["value"], scale), "billed": in_units(peak["billed"], scale)}


def in_units(fraction: str, scale: int) -> str:
    """A fraction of steps as units, to six places.

    >>> in_units("8000/3", 1000), in_units("4000", 1000)
    ('2.666667', '4')
    """
    exact = Fraction(fraction) / scale
    return f"{round(Decimal(exact.numerator) / exact.denominator, 6).normalize():f}"


def _slot(one: Mapping[str, Any], scale: int, zone: str) -> Slot:
    at = datetime.fromisoformat(one["at"]).astimezone(ZoneInfo(zone))
    return Slot(one["local_day"], f"{at:%H:%M}", units(one["value"], scale), one.get("rank"))
