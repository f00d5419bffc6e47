"""Occupancy: whole quanta, a minimum, and charges that add up over any periods and prices."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from metering.occupancy import Rule, Run, charged, charged_by_price, elapsed_at

rules = st.builds(Rule, quantum=st.integers(1, 90), minimum=st.integers(0, 200))
cuts = st.lists(st.integers(0, 400), max_size=6)


@st.composite
def pauses(draw: st.DrawFn) -> list[Run]:
    """A task that ran, paused and ran on; the last run may still go on."""
    ends = sorted(draw(st.lists(st.integers(0, 400), min_size=2, max_size=8, unique=True)))
    runs: list[Run] = list(zip(ends[::2], ends[1::2], strict=False))
    return [*runs[:-1], (runs[-1][0], None)] if draw(st.booleans()) else runs


def owed(seconds: int, rule: Rule) -> int:
    """The oracle: nothing for nothing, else whole quanta and no less than the minimum."""
    return 0 if seconds == 0 else max(rule.minimum, ceil(Fraction(seconds, rule.quantum)) * rule.quantum)


def test_a_minute_is_begun_and_three_are_the_least() -> None:
    rule = Rule(60, 180)
    assert [rule.billable(seconds) for seconds in (0, 1, 180, 181)] == [0, 180, 180, 240]


@given(pauses(), cuts, rules)
def test_over_any_periods_the_charges_add_up_to_the_whole(runs: list[Run], between: list[int], rule: Rule) -> None:
    bounds = [0, *sorted(between), 500]
    seconds = charged(runs, bounds, rule)
    assert sum(seconds) == owed(elapsed_at(runs, 500), rule)
    assert min(seconds) >= 0


@given(pauses(), cuts, cuts, rules)
def test_over_any_prices_within_any_periods_too(runs: list[Run], between: list[int], changes: list[int], rule: Rule) -> None:
    bounds = [0, *sorted(between), 500]
    total = 0
    for start, end, whole in zip(bounds, bounds[1:], charged(runs, bounds, rule), strict=False):
        parts = charged_by_price(runs, [start, *sorted(c for c in changes if start < c < end), end], rule)
        assert sum(parts) == whole
        assert min(parts) >= 0
        total += sum(parts)
    assert total == owed(elapsed_at(runs, 500), rule)


def test_when_a_price_changes_each_has_its_time_and_the_last_has_the_rest_of_the_quantum() -> None:
    assert charged_by_price([(0, 100)], [0, 30, 500], Rule(60)) == [30, 90]
    assert charged_by_price([(0, 10)], [0, 4, 500], Rule(1, minimum=60)) == [4, 56]


def test_a_price_in_which_nothing_ran_gets_nothing_of_the_quantum() -> None:
    assert charged_by_price([(0, 100)], [0, 30, 100, 500], Rule(60)) == [30, 90, 0]


def test_what_the_period_before_billed_ahead_is_not_billed_again() -> None:
    runs: list[Run] = [(0, 100)]
    assert charged(runs, [0, 30, 500], Rule(60)) == [60, 60]  # the first period paid for the second's first 30
    assert charged_by_price(runs, [30, 50, 70, 500], Rule(60)) == [0, 10, 50]


def test_a_pause_is_not_billed_and_a_run_that_goes_on_ends_with_the_period() -> None:
    assert elapsed_at([(0, 10), (50, None)], 60) == 20
    assert charged([(0, 10), (50, None)], [0, 20, 50, 60], Rule()) == [10, 0, 10]


def test_what_was_preempted_has_no_minimum() -> None:
    assert Rule(10, 60).without_minimum().billable(11) == 20


@pytest.mark.parametrize(("quantum", "minimum", "field"), [(0, 0, "quantum"), (1, -1, "minimum")])
def test_a_rule_that_cannot_be_is_refused(quantum: int, minimum: int, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        Rule(quantum, minimum)
    assert (refused.value.code, refused.value.field) == ("occupancy_invalid", field)
