"""Peaks: the sweep, the grid, every policy against an oracle in fractions, and the evidence."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from metering.peaks import (
    Calendar,
    Day,
    Interval,
    Policy,
    calendar_of,
    day_start,
    digest_of,
    directed,
    evidence_of,
    levels_of,
    parse_policy,
    peaks_of,
    settle,
    slot_start,
    slots_of,
    width_of,
)
from metering.peaks.evidence import removed_of
from metering.peaks.grid import SLOT_US, edges_of, micros_of, moment_of
from metering.peaks.policy import DAILY, KINDS, MONTHLY
from metering.peaks.statistic import rank_of, recorded_of, valid_of
from tests.metering import peaks_oracle

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
JUNE = date(2026, 6, 1)


def month(*days: list[int | None], padding: int = 0) -> tuple[list[Day], Calendar]:
    """Days of June with the slots given, and the calendar of just those; `padding` days more were not recorded."""
    made = [Day(JUNE + timedelta(days=n), tuple(slots)) for n, slots in enumerate(days)]
    more = [(JUNE + timedelta(days=len(days) + n), 4) for n in range(padding)]
    return made, Calendar((*((day.local_day, len(day.slots)) for day in made), *more), 30)


# The sweep


def test_tasks_back_to_back_do_not_stack() -> None:
    assert levels_of([Interval(0, 10, 4), Interval(10, 20, 4)]) == [(0, 4), (20, 0)]
    assert levels_of([Interval(10, 20, 1), Interval(0, 10, 4)]) == [(0, 4), (10, 1), (20, 0)]


def test_an_interval_without_length_holds_nothing() -> None:
    assert levels_of([Interval(5, 5, 9), Interval(7, 6, 9)]) == []


def test_a_slot_is_the_time_weighted_mean_or_the_most() -> None:
    levels = levels_of([Interval(0, 75, 4), Interval(50, 100, 1)])
    assert slots_of(levels, [0, 100, 200], "avg") == [3, 0]  # (4 x 75 + 1 x 50) / 100, the fraction cut off
    assert slots_of(levels, [0, 100, 200], "max") == [5, 0]


def test_a_task_that_ends_with_the_slot_is_not_in_the_next() -> None:
    assert slots_of(levels_of([Interval(0, 100, 7)]), [0, 100, 200], "max") == [7, 0]


intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(1, 9)), max_size=12)


@given(intervals, st.randoms(use_true_random=False))
def test_the_sweep_is_what_every_instant_says_in_any_order(found: list[tuple[int, int, int]], random: Any) -> None:
    edges = [0, 7, 14, 21, 40, 60]
    shuffled = random.sample(found, len(found))
    levels = levels_of(Interval(*interval) for interval in shuffled)
    at = [peaks_oracle.held_at(found, instant) for instant in range(60)]
    assert slots_of(levels, edges, "max") == [max(at[a:b]) for a, b in pairwise(edges)]
    assert slots_of(levels, edges, "avg") == [sum(at[a:b]) // (b - a) for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    ("direction", "slots"), [("in", (1, 5, None)), ("out", (2, 3, 4)), ("max", (2, 5, None)), ("sum", (3, 8, None))]
)
def test_a_two_way_meter_is_seen_in_one_direction(direction: str, slots: tuple[int | None, ...]) -> None:
    assert directed([1, 5, None], [2, 3, 4], direction) == slots


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid) as refused:
        directed([1], [1], "up")
    assert (refused.value.code, refused.value.field) == ("peak_policy_invalid", "direction")


# The grid


@pytest.mark.parametrize(
    ("day", "zone", "width"),
    [
        (date(2026, 3, 29), "Europe/Berlin", 276),
        (date(2026, 10, 25), "Europe/Berlin", 300),
        (date(2026, 10, 26), "Europe/Berlin", 288),
        (date(2026, 10, 4), "Australia/Lord_Howe", 282),  # half an hour
        (date(2018, 11, 4), "America/Sao_Paulo", 276),  # midnight itself is skipped
        (date(2018, 2, 17), "America/Sao_Paulo", 300),  # at midnight back to 23:00 of the day before
        (date(2026, 11, 1), "America/Havana", 300),  # midnight comes twice
        (date(2011, 12, 30), "Pacific/Apia", 0),  # the day that Samoa left out
        (date(1919, 3, 31), "America/Toronto", 282),  # 23:30 became 0:30: the day began half an hour late
        (date(2026, 6, 1), "Asia/Shanghai", 288),
    ],
)
def test_a_day_has_as_many_slots_as_its_clocks_let_it(day: date, zone: str, width: int) -> None:
    assert width_of(day, ZoneInfo(zone)) == width
    assert len(edges_of(day, ZoneInfo(zone))) == width + 1


def test_days_meet_in_every_zone_and_begin_at_their_first_instant() -> None:
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        for day in (date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 1), date(2011, 12, 30)):
            start = day_start(day, zone)
            assert moment_of(start).astimezone(zone).date() >= day
            assert moment_of(start - 1).astimezone(zone).date() < day
            assert 0 <= day_start(day + timedelta(days=1), zone) - start <= 27 * 3600 * 10**6


def test_slots_are_counted_in_time_and_not_by_the_clocks_hands() -> None:
    at = moment_of(slot_start(date(2026, 10, 25), 36, BERLIN))  # the third hour after midnight is the second two o'clock
    assert at == datetime(2026, 10, 25, 1, tzinfo=UTC)
    assert at.astimezone(BERLIN).hour == 2
    assert micros_of(at) == slot_start(date(2026, 10, 25), 36, BERLIN)


def test_a_calendar_has_the_active_days_and_knows_the_months_length() -> None:
    whole = calendar_of(date(2026, 2, 17), SHANGHAI)
    assert (len(whole.days), whole.month_days) == (28, 28)
    part = calendar_of(date(2019, 1, 1), SHANGHAI, active_from=date(2019, 1, 6))
    assert (len(part.days), part.month_days, part.days[0]) == (26, 31, (date(2019, 1, 6), 288))
    assert len(calendar_of(JUNE, SHANGHAI, date(2026, 6, 10), date(2026, 6, 22)).days) == 12
    assert dict(calendar_of(date(2026, 10, 1), BERLIN).days)[date(2026, 10, 25)] == 300


# Ranks


def test_the_rank_is_floor_drop_and_nearest_rank_and_percentile_disc_at_once() -> None:
    for samples in range(1, 20_001):
        rank = rank_of("month_p95", 0, samples)
        assert rank == samples * 5 // 100 + 1
        assert samples - rank + 1 == -(-samples * 95 // 100)


@pytest.mark.parametrize(("days", "dropped"), [(28, 403), (29, 417), (30, 432), (31, 446)])
def test_a_months_highest_five_in_a_hundred_are_these(days: int, dropped: int) -> None:
    assert rank_of("month_p95", 0, days * 288) - 1 == dropped


def test_a_day_of_288_loses_fourteen() -> None:
    assert rank_of("day_p95", 0, 288) == 15


# Policies


slot_values = st.one_of(st.none(), st.integers(0, 6), st.integers(0, 2**63 - 1))
day_slots = st.lists(slot_values, min_size=1, max_size=45)
policies = st.builds(
    Policy,
    kind=st.sampled_from(KINDS),
    k=st.integers(1, 40),
    day=st.sampled_from(DAILY),
    day_k=st.integers(1, 40),
    valid_days=st.sampled_from(("used", "active")),
    above=st.integers(0, 3),
)


@settings(max_examples=300)
@given(policies, st.lists(day_slots, min_size=1, max_size=8), st.integers(0, 2))
def test_every_policy_is_what_the_oracle_says(policy: Policy, slots: list[list[int | None]], padding: int) -> None:
    days, calendar = month(*slots, padding=padding)
    valid = [day for day in slots if policy.valid_days == "active" or any((slot or 0) > policy.above for slot in day)]
    valid += [[0] * 4] * padding if policy.valid_days == "active" else []
    peaks = peaks_of(policy, days, calendar)
    if policy.daily:
        expected = [peaks_oracle.day_value(policy.kind, policy.k, [slot or 0 for slot in day]) for day in valid]
        assert [peak.value for peak in peaks] == expected
        return
    assert [peak.value for peak in peaks] == ([peaks_oracle.value_of(policy, valid)] if valid else [])
    assert [peak.other_value for peak in peaks] == [peaks_oracle.value_of(policy, valid, leave_unknown_out=True) for _ in peaks]


@given(policies, st.lists(day_slots, min_size=1, max_size=5))
def test_the_winner_is_never_removed_and_every_removed_slot_is_as_high(policy: Policy, slots: list[list[int | None]]) -> None:
    days, calendar = month(*slots)
    valid = valid_of(policy, recorded_of(days, calendar), calendar)
    for peak in peaks_of(policy, days, calendar):
        removed = removed_of(policy, peak, valid)
        places = {(day, slot) for day, slot, _ in removed}
        assert len(places) == len(removed) == sum(winner.rank - 1 for winner in peak.winners)
        assert not places & {(winner.local_day, winner.slot) for winner in peak.winners}
        assert all(value >= min(winner.value for winner in peak.winners) for _, _, value in removed)


@given(policies, st.lists(day_slots, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_the_days_does_not_matter(policy: Policy, slots: list[list[int | None]], random: Any) -> None:
    days, calendar = month(*slots)
    assert peaks_of(policy, random.sample(days, len(days)), calendar) == peaks_of(policy, days, calendar)


@given(policies, st.lists(day_slots, min_size=1, max_size=5), st.integers(0, 4))
def test_more_use_never_bills_less(policy: Policy, slots: list[list[int | None]], where: int) -> None:
    more = [[min((slot or 0) + (n == where), 2**63 - 1) for slot in day] for n, day in enumerate(slots)]
    if policy.kind in {"month_mean_day_peak", "month_topk_mean"} and policy.valid_days == "used":
        policy = parse_policy(policy.document() | {"valid_days": "active"})  # a further valid day may lower a mean
    if policy.kind == "month_p95":
        policy = parse_policy(policy.document() | {"valid_days": "active"})  # and a further day's slots a percentile
    before, after = (peaks_of(policy, *month(*days)) for days in (slots, more))
    by_day = {peak.local_day: peak.value for peak in after}
    assert all(by_day[peak.local_day] >= peak.value for peak in before)


def test_of_equal_slots_the_earliest_is_the_winner_and_the_latest_are_removed() -> None:
    days, calendar = month([1, 9, 9, 2, 9])
    (peak,) = peaks_of(Policy("day_kth", k=3), days, calendar)
    assert (peak.winners[0].slot, peak.winners[0].rank) == (1, 3)
    assert [slot for _, slot, _ in removed_of(Policy("day_kth", k=3), peak, days)] == [4, 2]


def test_with_fewer_slots_than_the_rank_the_last_is_taken() -> None:
    days, calendar = month([8, 7, 6])
    assert peaks_of(Policy("day_kth", k=5), days, calendar)[0].value == 6


def test_with_fewer_days_than_are_averaged_all_are() -> None:
    days, calendar = month([8], [7], [0])
    assert peaks_of(Policy("month_topk_mean", k=5), days, calendar)[0].value == Fraction(15, 2)


def test_an_active_day_without_use_counts_and_an_unused_one_does_not() -> None:
    days, calendar = month([4, 8], padding=1)
    assert peaks_of(Policy("month_mean_day_peak"), days, calendar)[0].value == 8
    assert peaks_of(Policy("month_mean_day_peak", valid_days="active"), days, calendar)[0].value == 4


def test_a_month_without_use_has_no_peak() -> None:
    days, calendar = month([0, 0], [None, 0])
    assert [peaks_of(Policy(kind), days, calendar) for kind in KINDS] == [[]] * len(KINDS)
    assert [peaks_of(Policy(kind), [], calendar) for kind in KINDS] == [[]] * len(KINDS)


def test_days_outside_of_the_calendar_do_not_count() -> None:
    days, calendar = month([4])
    stranger = Day(date(2026, 7, 1), (99,))
    assert peaks_of(Policy("month_max"), [*days, stranger], calendar)[0].value == 4


@pytest.mark.parametrize(
    "days",
    [
        [Day(JUNE, (1, 2))],
        [Day(JUNE, (1, -1, 1))],
        [Day(JUNE, (1, 2**63, 1))],
        [Day(JUNE, (1, 1, 1)), Day(JUNE, (1, 1, 1))],
    ],
)
def test_slots_that_cannot_be_are_refused(days: list[Day]) -> None:
    with pytest.raises(Invalid) as refused:
        peaks_of(Policy("month_max"), days, Calendar(((JUNE, 3),), 30))
    assert (refused.value.code, refused.value.field) == ("slots_invalid", "days")


# What is billed


def test_more_than_one_slot_in_a_hundred_unknown_goes_to_review_and_both_ways_are_there() -> None:
    days, calendar = month([None, *range(1, 100)])
    peak = peaks_of(Policy("day_p95"), days, calendar)[0]
    assert not settle(Policy("day_p95"), peak, calendar).review
    days, calendar = month([None] * 2 + list(range(1, 99)))
    peak = peaks_of(Policy("day_p95"), days, calendar)[0]
    settled = settle(Policy("day_p95"), peak, calendar)
    assert (settled.review, settled.billed, settled.other) == (True, Fraction(93), Fraction(94))


def test_what_nobody_knows_cannot_be_billed_in_the_other_way() -> None:
    days, calendar = month([None, None])
    policy = Policy("month_max", valid_days="active")
    settled = settle(policy, peaks_of(policy, days, calendar)[0], calendar)
    assert (settled.billed, settled.other, settled.review) == (Fraction(0), None, True)


def test_daily_peaks_are_never_cut_by_the_months_day_factor() -> None:
    days, calendar = month([4], [8])
    policy = Policy("day_max", day_factor=True)
    assert [settle(policy, peak, calendar).billed for peak in peaks_of(policy, days, calendar)] == [4, 8]


# Evidence


def test_the_evidence_tells_all_that_is_needed_to_find_the_peak_again() -> None:
    slots: list[int | None] = [0] * 288
    slots[100:120] = range(20, 40)
    calendar = calendar_of(JUNE, SHANGHAI)
    policy = Policy("month_topk_mean", k=2, day="day_kth", day_k=5, day_factor=True)
    days = [Day(JUNE, tuple(slots)), Day(date(2026, 6, 2), (*slots[1:], 0))]
    (evidence,) = evidence_of(policy, days, calendar, SHANGHAI)
    assert evidence["digest"] == digest_of(days) == digest_of(days[::-1])
    assert evidence["winners"] == [
        {"local_day": "2026-06-01", "slot": 115, "at": "2026-06-01T01:35:00Z", "value": 35, "rank": 5},
        {"local_day": "2026-06-02", "slot": 114, "at": "2026-06-02T01:30:00Z", "value": 35, "rank": 5},
    ]
    assert [slot["value"] for slot in evidence["removed"]] == [39, 38, 37, 36] * 2
    assert evidence["formula"] == "month_topk_mean(2) of day_kth(5): (35 + 35) / 2 = 35; x 2 / 30 days = 7/3; billed 7/3"
    assert parse_policy(json.loads(json.dumps(evidence))["policy"]) == policy


def test_one_slot_more_or_less_and_the_digest_is_another() -> None:
    assert digest_of([Day(JUNE, (1, None))]) != digest_of([Day(JUNE, (1, 0))])


def test_a_months_percentile_names_its_rank_and_every_removed_slot() -> None:
    calendar = calendar_of(JUNE, SHANGHAI)
    days = [Day(day, tuple(range(288))) for day, _ in calendar.days]
    (evidence,) = evidence_of(Policy("month_p95"), days, calendar, SHANGHAI)
    assert (len(evidence["removed"]), evidence["winners"][0]["rank"]) == (432, 433)
    assert evidence["formula"] == "month_p95 rank 433 of 8640 slots: 273; billed 273"
    assert SLOT_US * 288 == 86_400 * 10**6


# Policies as data


@given(policies)
def test_a_policys_document_is_read_back_to_the_same_policy(policy: Policy) -> None:
    assert parse_policy(json.loads(json.dumps(policy.document()))) == policy


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "policy"),
        ({}, "policy.kind"),
        ({"kind": "month_p99"}, "policy.kind"),
        ({"kind": ["day_max"]}, "policy.kind"),
        ({"kind": "day_max", "kth": 1}, "policy.kth"),
        ({"kind": "day_kth", "k": 0}, "policy.k"),
        ({"kind": "day_kth", "k": True}, "policy.k"),
        ({"kind": "day_kth", "k": 5.0}, "policy.k"),
        ({"kind": "month_max", "day": "month_max"}, "policy.day"),
        ({"kind": "month_max", "day_factor": 1}, "policy.day_factor"),
        ({"kind": "month_max", "min_ratio": 0.2}, "policy.min_ratio"),
        ({"kind": "month_max", "min_ratio": "1.2"}, "policy.min_ratio"),
        ({"kind": "month_max", "min_ratio": "1/0"}, "policy.min_ratio"),
        ({"kind": "month_max", "min_ratio": "1e-999999999"}, "policy.min_ratio"),
        ({"kind": "month_max", "above": -1}, "policy.above"),
        ({"kind": "month_max", "slot_stat": "p95"}, "policy.slot_stat"),
        ({"kind": "month_max", "direction": "up"}, "policy.direction"),
    ],
)
def test_a_policy_that_is_none_is_refused_with_its_field(document: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_policy(document)
    assert (refused.value.code, refused.value.field) == ("peak_policy_invalid", field)


def test_every_policy_has_a_name_that_a_person_can_read() -> None:
    assert str(Policy("day_kth", k=4)) == "day_kth(4)"
    assert str(Policy("month_mean_day_peak", day="day_p95")) == "month_mean_day_peak of day_p95"
    assert [str(Policy(kind)) for kind in MONTHLY] == ["month_max", "month_mean_day_peak", "month_topk_mean(5)", "month_p95"]
