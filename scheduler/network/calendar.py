"""Bandwidth over time: what is booked on a link, what is free, and when a transfer fits.

A link's calendar is a step function: whole Mbit/s booked over half-open periods [start, end) in seconds. Two kinds of
bookings: *deterministic* ones keep a class promise and may use the whole link; *bursts* are temporary capacity for bulk
transfers and must leave a reserve of the link to deterministic traffic, so that a burst never shuts it out. What is booked
never passes the capacity, whatever the order of bookings: `admits` looks at the highest step within the period.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

DETERMINISTIC, BURST = "deterministic", "burst"
RESERVE: Final = 0.3  # share of a link that bursts leave to deterministic traffic
GIVES_UP_S: Final = 366 * 86_400.0  # no booking starts further ahead


@dataclass(frozen=True, slots=True)
class Booking:
    """`mbps` from `start` until `end` (seconds, any origin)."""

    start: float
    end: float
    mbps: int
    kind: str = DETERMINISTIC

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end) and self.start < self.end):
            raise ValueError("a booking ends after it starts")
        if self.mbps <= 0 or self.kind not in (DETERMINISTIC, BURST):
            raise ValueError("a booking is some Mbit/s, deterministic or burst")


@dataclass(frozen=True, slots=True)
class Calendar:
    """One link's bookings under its capacity (whole Mbit/s)."""

    capacity_mbps: int
    bookings: tuple[Booking, ...] = field(default=())

    def limit(self, kind: str) -> int:
        """What the bookings of one kind may take together at any moment."""
        reserved = math.ceil(self.capacity_mbps * RESERVE) if kind == BURST else 0
        return self.capacity_mbps - reserved

    def peak(self, start: float, end: float, kind: str | None = None) -> int:
        """The highest total booked at any moment of [start, end); of one kind only if asked."""
        changes: list[tuple[float, int]] = []
        for one in self.bookings:
            if one.start < end and start < one.end and kind in (None, one.kind):
                changes += [(max(one.start, start), one.mbps), (one.end, -one.mbps)]
        total = highest = 0
        for _, change in sorted(changes):  # an end sorts before a start at the same moment
            total += change
            highest = max(highest, total)
        return highest

    def free(self, start: float, end: float, kind: str = DETERMINISTIC) -> int:
        """Mbit/s that one more booking of this kind may have over the whole period.

        A burst is bounded twice: by what is free at all, and by the share that bursts may have.
        """
        free = self.capacity_mbps - self.peak(start, end)
        if kind == BURST:
            free = min(free, self.limit(BURST) - self.peak(start, end, BURST))
        return max(0, free)

    def admits(self, booking: Booking) -> bool:
        """Whether it fits at every moment of its period."""
        return booking.mbps <= self.free(booking.start, booking.end, booking.kind)

    def with_booking(self, booking: Booking) -> Calendar:
        """The calendar with one more booking; ValueError if it does not fit."""
        if not self.admits(booking):
            raise ValueError("the link is booked out in that period")
        return Calendar(self.capacity_mbps, (*self.bookings, booking))

    def ends(self) -> list[float]:
        """The moments at which something becomes free, in order."""
        return sorted({one.end for one in self.bookings})


def earliest(
    calendars: Sequence[Calendar], mbps: int, seconds: float, not_before: float, kind: str = DETERMINISTIC
) -> float | None:
    """The earliest start from `not_before` at which every link of a path has `mbps` for so long; None if none has.

    Only the moment asked for and the ends of bookings can be the earliest: before them nothing becomes free.
    """
    moments = {not_before} | {end for calendar in calendars for end in calendar.ends() if end > not_before}
    for start in sorted(moments):
        if start > not_before + GIVES_UP_S:
            break
        if all(one.free(start, start + seconds, kind) >= mbps for one in calendars):
            return start
    return None


def rate_for(size_bytes: int, start: float, deadline: float, latency_s: float = 0.0) -> int | None:
    """Whole Mbit/s that bring so many bytes over from `start` by `deadline`: bytes * 8 / (deadline - start - latency).

    None where no time is left.
    """
    time_s = deadline - start - latency_s
    if time_s <= 0:
        return None
    return max(1, math.ceil(size_bytes * 8 / (time_s * 1e6)))


@dataclass(frozen=True, slots=True)
class Slot:
    """When and how fast a bulk transfer goes."""

    start: float
    end: float
    mbps: int


def transfer_slot(
    calendars: Sequence[Calendar],
    size_bytes: int,
    not_before: float,
    deadline: float,
    *,
    latency_s: float = 0.0,
    kind: str = BURST,
) -> Slot | None:
    """The slot that brings the bytes over every link by the deadline and arrives first; None if none can.

    Candidate starts are the moments when something becomes free; at each the whole free rate up to the deadline is tried
    first, then what is free until the time that this rate needs. All of the rate is at most what every link admits.
    """
    best: Slot | None = None
    for start in sorted({not_before} | {end for one in calendars for end in one.ends() if not_before < end < deadline}):
        slot = _quickest(calendars, size_bytes, start, deadline - latency_s, kind)
        if slot is not None and (best is None or slot.end < best.end):
            best = slot
    return best


def _quickest(calendars: Sequence[Calendar], size_bytes: int, start: float, end: float, kind: str) -> Slot | None:
    """The fastest constant rate from `start`: shrinking the period only frees more, so try each next obstacle as its end."""
    obstacles = {one.start for calendar in calendars for one in calendar.bookings if start < one.start < end}
    for until in [*sorted(obstacles), end]:
        if until <= start:
            continue
        mbps = min(one.free(start, until, kind) for one in calendars)
        if mbps > 0 and start + size_bytes * 8 / (mbps * 1e6) <= until:
            return Slot(start, start + size_bytes * 8 / (mbps * 1e6), mbps)
    return None


def booked(bookings: Iterable[Booking], capacity_mbps: int) -> Calendar:
    """A calendar of what is already booked, as it stands (a link may have shrunk under its bookings)."""
    return Calendar(capacity_mbps, tuple(bookings))
