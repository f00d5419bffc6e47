"""A month's usage of one customer under one price list -> what is charged of each meter, and how that came about. Pure and exact.

    usage      plain meters have a quantity; peaks are found in intervals, how much was held from when to when
    Rated      one meter: raw and billed quantity, the parts of its amount, the amount with twelve decimals

Everything is cumulative: whatever was charged before is subtracted by who posts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo

from billing.periods.prices import SCALE, SURCHARGE, Price
from billing.rating import Part, parts_of, precise
from billing.rating.amounts import total_of
from metering.peaks import (
    Calendar,
    Day,
    Interval,
    Peak,
    Settlement,
    day_start,
    levels_of,
    peaks_of,
    settle,
    slots_of,
)
from metering.peaks.grid import calendar_of, edges_of

ALGORITHM: Final = "periods/1"
Active = tuple[date | None, date | None]


@dataclass(frozen=True, slots=True)
class Month:
    """The calendar month of one customer: [start, end), and the zone whose days it has."""

    first: date
    zone: ZoneInfo
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used within a month under one price list.

    quantities  meter -> quantity; `occupancy_second` in whole quanta, `held_second` as it was
    intervals   peak meter -> what was held when, in thousandths
    days        peak meter that the pool reports -> its slots in thousandths, of the time in which the list was in force
    """

    quantities: Mapping[str, Fraction]
    intervals: Mapping[str, Sequence[Interval]] = field(default_factory=dict)
    days: Mapping[str, Sequence[Day]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rated:
    """What one meter comes to.

    raw      what was measured, billed: what is priced (quanta, peaks), both in the meter's unit
    parts    of the amount; of a daily peak those of every day
    formula  how `billed` came about
    peaks    evidence of each peak (metering/peaks/evidence.py), without the removed slots
    review   a person decides: too many slots are unknown
    """

    meter: str
    raw: Fraction
    billed: Fraction
    parts: tuple[Part, ...]
    formula: str
    peaks: tuple[dict[str, Any], ...] = ()
    review: bool = False

    @property
    def amount(self) -> Decimal:
        """In currency units, twelve decimals."""
        return total_of(self.parts)


def rate_usage(price: Price, usage: Usage, month: Month, active: Active, *, final: bool) -> list[Rated]:
    """Every meter of the price list that anything was used of (or that has a minimum), surcharges last.

    active  the local days [from, to) for which the list was in force; days with usage outside of them count as well
    final   whether the month is over: only then are minima asked for
    """
    found = [
        _peak(price, meter, usage, month, active, final=final)
        if meter in price.peaks
        else _plain(price, meter, usage.quantities, final=final)
        for meter in sorted(price.rates)
        if meter != SURCHARGE
    ]
    if SURCHARGE in price.rates:
        base = sum((Fraction(rated.amount) for rated in found), Fraction(0))
        found.append(_rated(price, SURCHARGE, base, base, f"of what the other meters cost: {_text(base)}", final=final))
    return [rated for rated in found if rated.amount or rated.raw]


def _rated(price: Price, meter: str, raw: Fraction, billed: Fraction, formula: str, *, final: bool) -> Rated:
    return Rated(meter, raw, billed, tuple(parts_of(price.rates[meter], billed, final=final)), formula)


def _plain(price: Price, meter: str, quantities: Mapping[str, Fraction], *, final: bool) -> Rated:
    billed = quantities.get(meter, Fraction(0))
    raw = quantities.get("held_second", billed) if meter == "occupancy_second" else billed
    rule = price.time
    formula = f"sum of the facts: {_text(billed)}" if meter in price.events else f"sum of the records: {_text(billed)}"
    if raw != billed:
        formula = f"{_text(raw)} in quanta of {rule.quantum / 1000:g} s, at least {rule.minimum / 1000:g} s each: {_text(billed)}"
    return _rated(price, meter, raw, billed, formula, final=final)


def _peak(price: Price, meter: str, usage: Usage, month: Month, active: Active, *, final: bool) -> Rated:
    days, calendar = days_of(price, meter, usage, month, active)
    settled = settled_of(price, days, calendar)
    rate, scale = price.rates[meter], price.scale
    raw = sum((peak.value for peak, _ in settled), Fraction(0)) / scale
    billed = sum((settlement.billed for _, settlement in settled), Fraction(0)) / scale
    parts = [part for _, settlement in settled for part in parts_of(rate, settlement.billed / scale, final=final)]
    if not settled and price.policy is not None and not price.policy.daily:
        parts = parts_of(rate, Fraction(0), final=final)
    formula = "; ".join(settlement.formula for _, settlement in settled) or "nothing was held"
    shown = tuple(_shown(price, peak, settlement) for peak, settlement in settled)
    return Rated(meter, raw, billed, tuple(parts), formula, shown, any(settlement.review for _, settlement in settled))


def settled_of(price: Price, days: Sequence[Day], calendar: Calendar) -> list[tuple[Peak, Settlement]]:
    """The peaks of the days with what is billed for each, in steps of the price's scale."""
    assert price.policy is not None  # noqa: S101 peaks have one
    caps = [] if price.cap is None else [price.cap] * len(calendar.days)
    return [(peak, settle(price.policy, peak, calendar, caps)) for peak in peaks_of(price.policy, days, calendar)]


def days_of(price: Price, meter: str, usage: Usage, month: Month, active: Active) -> tuple[list[Day], Calendar]:
    """The slots of every day on which anything was held or reported, and the days that count."""
    found = _reported(price, usage.days[meter]) if meter in usage.days else _held(price, usage.intervals.get(meter, ()), month)
    used = [day.local_day for day in found if any(day.slots)]
    after = [] if not used else [used[-1] + timedelta(days=1)]
    first = min([active[0] or month.first, *used[:1]])
    last = None if active[1] is None else max([active[1], *after])
    return found, calendar_of(month.first, month.zone, first, last)


def _reported(price: Price, days: Sequence[Day]) -> list[Day]:
    """In the price's steps; a slot that nobody can vouch for stays so."""
    steps = SCALE // price.scale
    return [Day(day.local_day, tuple(slot if slot is None else slot // steps for slot in day.slots)) for day in days]


def _held(price: Price, intervals: Sequence[Interval], month: Month) -> list[Day]:
    levels = levels_of(_scaled(intervals, price.scale))
    stat = price.policy.slot_stat if price.policy else "avg"
    slots = _slots(levels, calendar_of(month.first, month.zone), month.zone, stat)
    return [Day(day, tuple(each)) for day, each in slots if any(each)]


def _scaled(intervals: Sequence[Interval], scale: int) -> list[Interval]:
    return [Interval(one.start, one.end, one.amount * scale // 1000) for one in intervals]


def _slots(levels: Sequence[tuple[int, int]], calendar: Calendar, zone: ZoneInfo, stat: str) -> list[tuple[date, list[int]]]:
    """The slots of all days in one pass."""
    if not levels:
        return []
    edges: list[int] = []
    for day, _ in calendar.days:
        edges += edges_of(day, zone)[:-1]
    last = calendar.days[-1][0]
    slots = slots_of(levels, [*edges, day_start(last + timedelta(days=1), zone)], stat)
    found, at = [], 0
    for day, width in calendar.days:
        found.append((day, slots[at : at + width]))
        at += width
    return found


def _shown(price: Price, peak: Peak, settlement: Settlement) -> dict[str, Any]:
    """A peak in few words: its removed slots are found again when somebody asks (evidence.py)."""
    winners = [
        {
            "local_day": winner.local_day.isoformat(),
            "slot": winner.slot,
            "value": str(Fraction(winner.value, price.scale)),
            "rank": winner.rank,
        }
        for winner in peak.winners
    ]
    return {
        "local_day": peak.local_day and peak.local_day.isoformat(),
        "samples": peak.samples,
        "valid_days": peak.valid_days,
        "unknown_slots": peak.unknown,
        "winners": winners,
        "value": str(peak.value / price.scale),
        "billed": str(settlement.billed / price.scale),
        "formula": settlement.formula,
    }


def _text(value: Fraction) -> str:
    return format(precise(value).normalize(), "f")
