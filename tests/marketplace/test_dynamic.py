"""Dynamic rates, pure: the price of a round is exact, rounded once, and never leaves floor and ceiling."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from gridfare.evidence import _market as check
from marketplace.dynamic import Dynamic, Signal, parse, price_of, signal_of

GOOD = {"model": "dynamic", "multiplier": "1.5", "floor": "0.001", "ceiling": "0.1"}
amounts = st.decimals(0, 1000, places=12)


@st.composite
def rates(draw: Any) -> Dynamic:
    floor, ceiling = sorted([draw(amounts), draw(amounts)])
    return Dynamic(floor, ceiling, draw(st.decimals(0, 1000, places=6)))


@given(rates(), amounts, st.integers(1, 10**9))
def test_a_price_is_the_exact_value_rounded_once_and_clamped(rate: Dynamic, shadow: Decimal, ms: int) -> None:
    seconds = Decimal(ms) * Decimal("0.001")
    price, exact = price_of(rate, shadow, seconds), Fraction(shadow) / Fraction(seconds) * Fraction(rate.multiplier)
    assert rate.floor <= price <= rate.ceiling
    if rate.floor < price < rate.ceiling:
        assert -Fraction(1, 2 * 10**12) < Fraction(price) - exact <= Fraction(1, 2 * 10**12)
    else:
        assert price == (rate.ceiling if exact >= Fraction(rate.floor) and price != rate.floor else rate.floor)
    told = {**rate.document(), "shadow": str(shadow), "price": str(price)}
    assert list(check({"seconds": str(seconds), "rates": {"core_second": told}}, {"core_second": str(price)})) == []


@given(rates(), amounts, amounts)
def test_a_scarcer_pool_is_never_cheaper(rate: Dynamic, one: Decimal, other: Decimal) -> None:
    low, high = sorted([one, other])
    assert price_of(rate, low, Decimal(60)) <= price_of(rate, high, Decimal(60))


@given(rates())
def test_what_is_stored_is_read_back(rate: Dynamic) -> None:
    assert parse(rate.document(), "rates.core_second", "core_second") == rate


def test_a_market_with_room_costs_the_floor() -> None:
    rate = parse(GOOD, "rates.core_second", "core_second")
    assert price_of(rate, Signal(Decimal(60)).shadow("core_second")[1], Decimal(60)) == Decimal("0.001")


def test_halves_of_the_last_digit_go_up() -> None:
    rate = Dynamic(Decimal(0), Decimal(1), Decimal("0.5"))
    assert price_of(rate, Decimal("0.000000000001"), Decimal(1)) == Decimal("0.000000000001")


def test_seconds_are_whole_milliseconds_and_shadows_keep_their_shortest_text() -> None:
    assert signal_of(59.9996, {"cores": 0.1}) == Signal(Decimal("60.000"), {"cores": Decimal("0.1")})
    assert signal_of(0.0, {}).seconds == Decimal("0.001")


def test_of_accelerators_the_dearest_model_counts() -> None:
    signal = Signal(Decimal(1), {"accelerator:a100": Decimal(2), "accelerator:l40": Decimal(3), "cores": Decimal(9)})
    assert signal.shadow("accelerator_second") == ("accelerator:l40", Decimal(3))


@pytest.mark.parametrize(
    ("changes", "meter", "field"),
    [
        ({"floor": "0.2"}, "core_second", "rates.m.floor"),
        ({"floor": "-1"}, "core_second", "rates.m.floor"),
        ({"floor": 0.001}, "core_second", "rates.m.floor"),
        ({"floor": None}, "core_second", "rates.m.floor"),
        ({"ceiling": "0.1000000000001"}, "core_second", "rates.m.ceiling"),
        ({"ceiling": "1000000001"}, "core_second", "rates.m.ceiling"),
        ({"ceiling": "NaN"}, "core_second", "rates.m.ceiling"),
        ({"multiplier": "1e3"}, "core_second", "rates.m.multiplier"),
        ({"multiplier": ["1"]}, "core_second", "rates.m.multiplier"),
        ({"minimum": "1"}, "core_second", "rates.m.minimum"),
        ({}, "gb_moved", "rates.m"),
    ],
)
def test_what_is_wrong_is_refused_with_its_member(changes: dict[str, Any], meter: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(GOOD | changes, "rates.m", meter)
    assert (refused.value.code, refused.value.field) == ("rates_invalid", field)
