"""What is held, which limits speak against it, how holds grow: pure rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from marketplace.budgets import (
    Growth,
    Limit,
    Threshold,
    acting,
    crossed,
    grown,
    parse_thresholds,
    reached,
    room_of,
    share_room,
    wish_of,
)

micros = st.integers(0, 10**12)


def test_the_smaller_of_estimate_and_price_cap_is_held() -> None:
    assert wish_of(Decimal("2.5"), Decimal(4), 7).micros == 2_500_000
    assert wish_of(Decimal("2.5"), Decimal(1), 7).by == "price_cap"
    assert wish_of(None, Decimal(1), 7).micros == 1_000_000
    assert (wish_of(None, None, 7).micros, wish_of(None, None, 7).by) == (7, "minimum")


def test_an_estimate_is_rounded_up_and_a_cap_down() -> None:
    assert wish_of(Decimal("0.0000001"), None, 7).micros == 1
    assert wish_of(None, Decimal("0.0000019"), 7).micros == 1


def test_every_crossed_limit_is_named_and_the_tightest_binds() -> None:
    limits = [Limit("credit", 50), Limit("budget", 100, 1), Limit("budget", 20, 2), Limit("budget", 50, 3)]
    assert [(one.kind, one.id) for one in crossed(limits, 60)] == [("budget", 2), ("credit", None), ("budget", 3)]
    assert crossed(limits, 20) == []


def test_new_work_ends_at_the_lowest_threshold_that_does_more_than_notify() -> None:
    told = [Threshold(50, "notify"), Threshold(80, "block"), Threshold(100, "stop")]
    assert room_of(1_000, told, 300, 200) == 300
    assert room_of(1_000, told[:1], 300, 200) is None


def test_thresholds_are_reached_at_their_mark_and_act_beyond_it() -> None:
    told = [Threshold(80, "pause"), Threshold(100, "stop")]
    assert reached(1_000, told, 700, 100) == told[:1]
    assert acting(1_000, told, 700, 100) is None
    assert acting(1_000, told, 701, 100) == "pause"
    assert acting(1_000, told, 1_000, 1) == "stop"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ([], "thresholds"),
        ([{"percent": 80}], "thresholds.0"),
        ([{"percent": 0, "action": "notify"}], "thresholds.0.percent"),
        ([{"percent": True, "action": "notify"}], "thresholds.0.percent"),
        ([{"percent": 80, "action": "shout"}], "thresholds.0.action"),
        ([{"percent": 80, "action": "stop"}] * 2, "thresholds"),
        ({"percent": 80}, "thresholds"),
    ],
)
def test_wrong_thresholds_are_named(wrong: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_thresholds(wrong)
    assert refused.value.field == field


def test_a_hold_grows_by_what_the_rest_is_likely_to_cost() -> None:
    assert grown(100, 90, 1, 4, None) == 100
    assert grown(100, 120, 3, 4, None) == 160
    assert grown(100, 120, 0, 4, None) == 120
    assert grown(100, 120, 3, 4, 130) == 130


@given(micros, micros, st.integers(0, 50), st.integers(1, 50), st.none() | micros)
def test_a_hold_never_shrinks_and_covers_the_cost_so_far(held: int, so_far: int, done: int, total: int, cap: int | None) -> None:
    assert grown(held, so_far, done, total, cap) >= max(held, so_far)


growths = st.lists(
    st.tuples(micros, micros, micros).map(lambda one: Growth(one[0], one[0] + one[1], one[0] + one[1] + one[2])), max_size=8
)


@given(growths, st.integers(-(10**12), 10**13))
def test_growths_never_share_more_than_there_is_room(wanted: list[Growth], room: int) -> None:
    given_ = share_room(wanted, room)
    assert sum(new - one.held for new, one in zip(given_, wanted, strict=True)) <= max(room, 0)
    assert all(one.held <= new <= one.better for new, one in zip(given_, wanted, strict=True))
    if sum(one.better - one.held for one in wanted) <= room:
        assert given_ == [one.better for one in wanted]
