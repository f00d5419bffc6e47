"""Predictions held against what came."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.calibration import BOUNDS, MIN, Held, Record, record_of

SECONDS = st.floats(0.1, 1e6)
PROMISES = st.lists(st.tuples(SECONDS, st.floats(1, 5), SECONDS), min_size=MIN, max_size=200)


def held(p90: float, actual: float) -> Held:
    return Held(p90 / 2, p90, actual)


def test_nothing_promised_is_a_record_of_nothing() -> None:
    assert record_of([]) == Record(0, None, None, 1.0)


def test_shares_count_what_came_in_time() -> None:
    record = record_of([held(10, 4), held(10, 6), held(10, 10), held(10, 11)])
    assert (record.n, record.within_p50, record.within_p90) == (4, 0.25, 0.75)


def test_a_handful_of_tasks_corrects_nothing() -> None:
    assert record_of([held(1, 100)] * (MIN - 1)).factor == 1.0
    assert record_of([held(1, 10)] * MIN).factor == 10.0


@given(PROMISES)
def test_corrected_by_its_factor_a_record_would_have_kept_nine_of_ten(promises: list[tuple[float, float, float]]) -> None:
    listed = [Held(p50, p50 * more, actual) for p50, more, actual in promises]
    record = record_of(listed)
    if BOUNDS[0] < record.factor < BOUNDS[1]:
        kept = sum(one.actual_s <= one.p90_s * record.factor * 1.001 for one in listed)
        assert kept >= math.ceil(len(listed) * 0.9)


@given(PROMISES, SECONDS, SECONDS)
def test_what_is_shown_is_never_before_what_is_expected(promises: list[tuple[float, float, float]], p50: float, p90: float) -> None:
    record = record_of(Held(a, a * b, c) for a, b, c in promises)
    assert BOUNDS[0] <= record.factor <= BOUNDS[1]
    assert record.shown(p50, p90) >= p50


@pytest.mark.parametrize("wrong", [0.3, 1.0, 4.0])
def test_with_a_model_that_is_wrong_by_a_factor_the_next_still_holds_nine_of_ten_times(wrong: float) -> None:
    chance = np.random.default_rng(11)
    kept = []
    for _ in range(400):
        actual = wrong * np.exp(0.5 * chance.standard_normal(51))
        record = record_of(Held(1.0, 1.5, value) for value in actual[:-1])
        kept.append(actual[-1] <= 1.5 * record.factor)
    assert 0.87 <= np.mean(kept) <= 0.96


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_times_of_a_clock_that_jumped_back_and_of_no_sense_are_left_out(value: float) -> None:
    assert record_of([held(10, value), Held(value, 1, 1), held(10, 5)]).n == 1


def test_milliseconds_of_polling_are_no_broken_promise() -> None:
    assert record_of([Held(0.0, 0.001, 0.04)]).within_p90 == 1.0
