"""Bandwidth on a calendar: never above capacity, earliest means earliest, bursts leave room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.network.calendar import BURST, DETERMINISTIC, Booking, Calendar, booked, earliest, rate_for, transfer_slot

wishes = st.lists(
    st.builds(
        lambda start, length, mbps, kind: Booking(start, start + length, mbps, kind),
        st.integers(0, 20),
        st.integers(1, 10),
        st.integers(1, 120),
        st.sampled_from([DETERMINISTIC, BURST]),
    ),
    max_size=14,
)


def filled(asked: list[Booking], capacity: int = 100) -> Calendar:
    """Whoever fits is booked, in the order of asking."""
    calendar = Calendar(capacity)
    for one in asked:
        if calendar.admits(one):
            calendar = calendar.with_booking(one)
    return calendar


def taken(calendar: Calendar, at: float, kind: str | None = None) -> int:
    return sum(one.mbps for one in calendar.bookings if one.start <= at < one.end and kind in (None, one.kind))


@given(wishes)
def test_what_is_booked_never_passes_the_capacity(asked: list[Booking]) -> None:
    calendar = filled(asked)
    for moment in range(31):
        assert taken(calendar, moment) <= 100
        assert taken(calendar, moment, BURST) <= 70


@given(wishes, st.integers(0, 30), st.integers(1, 8))
def test_free_is_what_the_fullest_moment_leaves(asked: list[Booking], start: int, length: int) -> None:
    calendar = filled(asked)
    moments = range(start, start + length)
    fullest = max(taken(calendar, moment) for moment in moments)
    assert calendar.free(start, start + length) == 100 - fullest
    bursts = max(taken(calendar, moment, BURST) for moment in moments)
    assert calendar.free(start, start + length, BURST) == min(100 - fullest, 70 - bursts)


@given(wishes, wishes, st.integers(1, 100), st.integers(1, 6), st.integers(0, 25))
def test_the_earliest_start_is_the_first_at_which_every_link_is_free(
    one: list[Booking], other: list[Booking], mbps: int, seconds: int, not_before: int
) -> None:
    calendars = [filled(one), filled(other)]
    found = earliest(calendars, mbps, seconds, not_before)
    starts = range(not_before, 60)
    fits = (s for s in starts if all(c.free(s, s + seconds) >= mbps for c in calendars))
    assert found == next(fits)


def test_what_is_wider_than_the_link_never_starts() -> None:
    assert earliest([Calendar(100)], 101, 10, 0) is None
    assert earliest([Calendar(100)], 71, 10, 0, BURST) is None
    assert earliest([Calendar(100)], 70, 10, 5, BURST) == 5


@given(wishes, st.integers(1, 100_000_000), st.integers(0, 10), st.integers(1, 30))
def test_a_slot_moves_all_bytes_in_time_within_what_is_free(asked: list[Booking], size: int, start: int, length: int) -> None:
    calendars = [filled(asked), filled(asked[::-1])]
    slot = transfer_slot(calendars, size, start, start + length)
    if slot is None:  # then no whole moment onwards offers a rate that would do until the deadline
        for begin in range(start, start + length):
            free = min(one.free(begin, start + length, BURST) for one in calendars)
            assert free * 1e6 * (start + length - begin) < size * 8
        return
    assert start <= slot.start < slot.end <= start + length
    assert slot.mbps * 1e6 * (slot.end - slot.start) == pytest.approx(size * 8)
    for calendar in calendars:
        calendar.with_booking(Booking(slot.start, slot.end, slot.mbps, BURST))


def test_a_slot_waits_when_waiting_arrives_sooner() -> None:
    busy = Calendar(100).with_booking(Booking(0, 10, 90))
    slot = transfer_slot([busy], 100_000_000, 0, 100, kind=DETERMINISTIC)
    assert slot is not None
    assert (slot.start, slot.mbps, slot.end) == (10, 100, 18)


def test_the_rate_for_a_deadline_is_bytes_over_time_rounded_up() -> None:
    assert rate_for(1_000_000_000, 0, 80) == 100
    assert rate_for(1_000_000_001, 0, 80) == 101
    assert rate_for(1_000_000_000, 0, 90, latency_s=10) == 100
    assert rate_for(1, 0, 100) == 1
    assert rate_for(1, 100, 100) is None


def test_a_booking_is_a_positive_rate_over_a_positive_time() -> None:
    for wrong in ((5, 5, 1, BURST), (5, 4, 1, BURST), (0, float("nan"), 1, BURST), (0, 1, 0, BURST), (0, 1, 1, "other")):
        with pytest.raises(ValueError, match="booking"):
            Booking(*wrong)


def test_a_link_that_shrank_under_its_bookings_has_nothing_free() -> None:
    calendar = booked([Booking(0, 10, 80)], 50)
    assert calendar.free(0, 10) == 0
    with pytest.raises(ValueError, match="booked out"):
        calendar.with_booking(Booking(0, 1, 1))


def test_one_booking_ends_as_the_next_begins() -> None:
    full = Calendar(100).with_booking(Booking(0, 10, 100)).with_booking(Booking(10, 20, 100))
    assert full.peak(0, 20) == 100
