"""Counters against sums: a row for each that there is on either side. Pure and exact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from marketplace.pricing import EXACT


class Status(StrEnum):
    """What became of a counter. `missing_here`: the platform knows nothing of it; `missing_there`: the provider said nothing."""

    MATCHED = "matched"
    WITHIN = "within"
    OFF = "off"
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"


AGREE: Final = frozenset({Status.MATCHED, Status.WITHIN})  # no reason to talk about it


class Name(NamedTuple):
    """What is compared: a meter of a pool in [start, end), of one customer or of all (customer None)."""

    pool: int
    customer: int | None
    meter: str
    unit: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A difference of at most the larger of the two is within: an amount, and a part of what the platform knows."""

    absolute: Decimal = Decimal(0)
    relative: Decimal = Decimal(0)

    def holds(self, theirs: Decimal, ours: Decimal) -> bool:
        return abs(EXACT.subtract(theirs, ours)) <= max(self.absolute, EXACT.multiply(self.relative, ours))


@dataclass(frozen=True, slots=True)
class Compared:
    """One row of the report. None: that side said nothing. `facts`: records and events that ours is the sum of."""

    name: Name
    theirs: Decimal | None
    ours: Decimal | None
    facts: int
    status: Status

    @property
    def difference(self) -> Decimal:
        """Theirs less ours."""
        return EXACT.subtract(self.theirs or ZERO, self.ours or ZERO)


ZERO: Final = Decimal(0)
Sums = Mapping[Name, tuple[Decimal, int]]  # by customer -> the platform's quantity, and of how many facts


def compare(theirs: Mapping[Name, Decimal], ours: Sums, tolerance: Tolerance) -> list[Compared]:
    """A row for each counter, and for each sum that the provider should have named: of its meters and periods, not zero.

    Where the provider names customers of a pool, meter and period, those that it does not name are missing; where it names
    none at all, the sum of everybody is.
    """
    totals = _totals(ours)
    known = {**ours, **totals}
    rows = [_row(name, quantity, known.get(name), tolerance) for name, quantity in theirs.items()]
    rows += [
        Compared(name, None, quantity, facts, Status.MISSING_THERE)
        for name, (quantity, facts) in _unnamed(theirs, ours, totals)
        if quantity
    ]
    return sorted(rows, key=lambda row: (row.name.start, row.name.end, *row.name[:1], *row.name[2:4], row.name.customer or 0))


def _totals(ours: Sums) -> dict[Name, tuple[Decimal, int]]:
    """The same of all customers together."""
    found: dict[Name, tuple[Decimal, int]] = {}
    for name, (quantity, facts) in ours.items():
        whole = name._replace(customer=None)
        before = found.get(whole, (ZERO, 0))
        found[whole] = EXACT.add(before[0], quantity), before[1] + facts
    return found


def _row(name: Name, theirs: Decimal, known: tuple[Decimal, int] | None, tolerance: Tolerance) -> Compared:
    ours, facts = known or (ZERO, 0)
    if not facts:
        status = Status.MISSING_HERE if theirs else Status.MATCHED
        return Compared(name, theirs, None if theirs else ZERO, 0, status)
    status = Status.MATCHED if theirs == ours else Status.WITHIN if tolerance.holds(theirs, ours) else Status.OFF
    return Compared(name, theirs, ours, facts, status)


def _unnamed(theirs: Mapping[Name, Decimal], ours: Sums, totals: Sums) -> Iterable[tuple[Name, tuple[Decimal, int]]]:
    told = {(one.meter, one.unit, one.start, one.end) for one in theirs}
    by_customer = {one._replace(customer=None) for one in theirs if one.customer is not None}
    for name, known in totals.items():
        if (name.meter, name.unit, name.start, name.end) in told and name not in theirs and name not in by_customer:
            yield name, known
    for name, known in ours.items():
        if name._replace(customer=None) in by_customer and name._replace(customer=None) not in theirs and name not in theirs:
            yield name, known
