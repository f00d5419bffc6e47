"""Rates, rounding and shares: exact, against loops in fractions."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating import (
    Dynamic,
    Event,
    Flat,
    Graduated,
    Package,
    Percentage,
    PerResult,
    Rate,
    Tier,
    Volume,
    amount_of,
    minor_of,
    minor_units,
    parse_rate,
    parts_of,
    precise,
    round_carried,
    share_change,
    shares_of,
    units_of,
)
from billing.rating.amounts import total_of
from billing.rating.currencies import MINOR_UNITS
from core.errors import Invalid

TIERS = [{"up_to": "10", "price": "3"}, {"up_to": "20", "price": "2", "flat": "5"}, {"price": "1"}]
prices = st.decimals(0, 10**6, places=12)
quantities = st.fractions(0, 10**9)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    bounds = sorted(draw(st.sets(st.integers(1, 1000), max_size=4)))
    return tuple(Tier(bound, draw(prices), draw(prices)) for bound in (*map(Decimal, bounds), None))


models = st.one_of(
    st.builds(Flat, prices),
    st.builds(Graduated, tiers()),
    st.builds(Volume, tiers()),
    st.builds(Package, st.decimals("0.001", 1000, places=3), prices),
    st.builds(PerResult, prices),
    st.builds(Percentage, prices, prices),
    st.builds(Dynamic, prices),
)
rates = st.builds(Rate, models, st.none() | st.decimals(0, 10, places=2), st.none() | st.decimals(10, 10**9, places=2))


def test_a_flat_rate_is_quantity_times_price() -> None:
    assert amount_of(parse_rate({"model": "flat", "price": "0.000000000001"}), 5) == Decimal("0.000000000005")


@pytest.mark.parametrize(("quantity", "amount"), [(0, "0"), (10, "30"), (11, "37"), (20, "55"), (25, "60")])
def test_graduated_tiers_are_paid_part_by_part(quantity: int, amount: str) -> None:
    assert amount_of(parse_rate({"model": "graduated", "tiers": TIERS}), quantity) == Decimal(amount)


@pytest.mark.parametrize(("quantity", "amount"), [(0, "0"), (10, "30"), (11, "27"), (20, "45"), (25, "25")])
def test_the_tier_that_is_reached_prices_the_whole_quantity(quantity: int, amount: str) -> None:
    assert amount_of(parse_rate({"model": "volume", "tiers": TIERS}), quantity) == Decimal(amount)


@pytest.mark.parametrize(("quantity", "amount"), [(0, "0"), (Fraction(1, 100), "7"), (100, "7"), (101, "14")])
def test_a_package_that_was_begun_is_paid_whole(quantity: Fraction, amount: str) -> None:
    assert amount_of(parse_rate({"model": "package", "size": "100", "price": "7"}), quantity) == Decimal(amount)


def test_results_are_counted_and_never_in_parts() -> None:
    rate = parse_rate({"model": "per_result", "price": "0.3"})
    assert amount_of(rate, 3) == Decimal("0.9")
    with pytest.raises(Invalid) as refused:
        amount_of(rate, Fraction(1, 2))
    assert (refused.value.code, refused.value.field) == ("quantity_invalid", "quantity")


def test_a_percentage_is_of_money_and_its_fixed_part_only_where_there_is_some() -> None:
    rate = parse_rate({"model": "percentage", "percent": "2.5", "fixed": "1"})
    assert (amount_of(rate, 200), amount_of(rate, 0)) == (Decimal(6), Decimal(0))


def test_a_dynamic_rate_takes_each_events_own_price() -> None:
    rate = parse_rate({"model": "dynamic", "multiplier": "1.1"})
    events = [Event(Fraction(2), Decimal("0.5")), Event(Fraction(1, 3), Decimal(3))]
    assert [part.amount for part in parts_of(rate, events)] == [Decimal("1.1"), Decimal("1.1")]


def test_the_minimum_is_trued_up_in_the_last_run_only() -> None:
    rate = parse_rate({"model": "flat", "price": "1", "minimum": "10"})
    assert (amount_of(rate, 4, final=False), amount_of(rate, 4)) == (Decimal(4), Decimal(10))
    assert [(part.kind, part.amount) for part in parts_of(rate, 4)] == [("usage", Decimal(4)), ("minimum", Decimal(6))]


def test_the_maximum_is_a_line_of_its_own() -> None:
    rate = parse_rate({"model": "flat", "price": "1", "maximum": "10"})
    assert [(part.kind, part.amount) for part in parts_of(rate, 14)] == [("usage", Decimal(14)), ("maximum", Decimal(-4))]


@given(rates, st.integers(0, 10**6))
def test_no_amount_is_below_the_minimum_or_above_the_maximum(rate: Rate, quantity: int) -> None:
    usage: Any = [Event(Fraction(quantity), Decimal(1))] if isinstance(rate.model, Dynamic) else quantity
    total = total_of(parts_of(rate, usage))
    assert (rate.minimum or 0) <= total
    assert rate.maximum is None or total <= rate.maximum


@given(tiers(), st.fractions(0, 2000, max_denominator=50))
def test_tiers_are_what_a_loop_over_the_bounds_says(found: tuple[Tier, ...], quantity: Fraction) -> None:
    owed, below, reached = Fraction(0), Fraction(0), None
    for tier in found:
        upper = quantity if tier.up_to is None else min(Fraction(tier.up_to), quantity)
        if quantity > below:
            owed += (upper - below) * Fraction(tier.price) + Fraction(tier.flat)
            reached = tier
        below = max(below, upper)
    assert abs(Fraction(amount_of(Rate(Graduated(found)), quantity)) - owed) <= Fraction(len(found), 2 * 10**12)
    whole = quantity * Fraction(reached.price) + Fraction(reached.flat) if reached else Fraction(0)
    assert abs(Fraction(amount_of(Rate(Volume(found)), quantity)) - whole) <= Fraction(1, 2 * 10**12)


@given(quantities, prices)
def test_amounts_have_twelve_decimals_and_are_never_off_by_more_than_half_of_the_last(quantity: Fraction, price: Decimal) -> None:
    amount = amount_of(Rate(Flat(price)), quantity)
    assert amount.as_tuple().exponent == -12
    assert abs(Fraction(amount) - quantity * Fraction(price)) <= Fraction(1, 2 * 10**12)


@given(rates)
def test_a_rates_document_is_read_back_to_the_same_rate(rate: Rate) -> None:
    assert parse_rate(json.loads(json.dumps(rate.document()))) == rate


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (None, "rate.model"),
        ({}, "rate.model"),
        ({"model": "auction"}, "rate.model"),
        ({"model": {}}, "rate.model"),
        ({"model": "flat"}, "rate.price"),
        ({"model": "flat", "price": 1}, "rate.price"),
        ({"model": "flat", "price": "-1"}, "rate.price"),
        ({"model": "flat", "price": "1e5"}, "rate.price"),
        ({"model": "flat", "price": "NaN"}, "rate.price"),
        ({"model": "flat", "price": "0.0000000000001"}, "rate.price"),
        ({"model": "flat", "price": "1", "size": "1"}, "rate.size"),
        ({"model": "flat", "price": "1", "minimum": "2", "maximum": "1"}, "rate.maximum"),
        ({"model": "package", "price": "1", "size": "0"}, "rate.size"),
        ({"model": "volume", "tiers": []}, "rate.tiers"),
        ({"model": "volume", "tiers": ["1"]}, "rate.tiers.0"),
        ({"model": "volume", "tiers": [{"price": "1"}] * 51}, "rate.tiers"),
        ({"model": "volume", "tiers": [{"up_to": "1", "price": "1"}]}, "rate.tiers.0.up_to"),
        ({"model": "volume", "tiers": [{"price": "1"}, {"price": "1"}]}, "rate.tiers.0.up_to"),
        (
            {"model": "volume", "tiers": [{"up_to": "2", "price": "1"}, {"up_to": "2", "price": "1"}, {"price": "1"}]},
            "rate.tiers.0.up_to",
        ),
        ({"model": "volume", "tiers": [{"price": "1", "upto": "3"}]}, "rate.tiers.0.upto"),
        ({"model": "graduated", "tiers": [{"up_to": "1"}, {"price": "1"}]}, "rate.tiers.0.price"),
    ],
)
def test_a_rate_that_is_none_is_refused_with_its_field(document: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_rate(document)
    assert (refused.value.code, refused.value.field) == ("rate_invalid", field)


@pytest.mark.parametrize("quantity", [-1, 0.5, True, "3"])
def test_a_quantity_that_is_none_is_refused(quantity: Any) -> None:
    with pytest.raises(Invalid) as refused:
        amount_of(Rate(Flat(Decimal(1))), quantity)
    assert refused.value.code == "quantity_invalid"


@pytest.mark.parametrize("usage", [3, [Event(Fraction(-1), Decimal(1))], [Event(Fraction(1), Decimal(-1))]])
def test_a_dynamic_rate_needs_events_with_prices(usage: Any) -> None:
    with pytest.raises(Invalid) as refused:
        parts_of(Rate(Dynamic()), usage)
    assert refused.value.code == "quantity_invalid"


# Rounding


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("1.005", "CNY", 101),
        ("-1.005", "CNY", -101),
        ("1.0049999", "CNY", 100),
        ("0.5", "JPY", 1),
        ("2.5", "KRW", 3),
        ("1.0005", "KWD", 1001),
    ],
)
def test_a_line_is_rounded_half_up_to_its_currencys_minor_unit(amount: str, currency: str, minor: int) -> None:
    assert minor_of(Decimal(amount), currency) == minor
    assert Fraction(units_of(minor, currency)) == Fraction(minor, 10 ** minor_units(currency))


def test_currencies_have_none_two_three_or_four_decimals() -> None:
    assert [minor_units(code) for code in ("JPY", "CNY", "KWD", "CLF")] == [0, 2, 3, 4]
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in MINOR_UNITS)
    with pytest.raises(Invalid) as refused:
        minor_units("RMB")
    assert (refused.value.code, refused.value.field) == ("currency_unknown", "currency")


@given(st.lists(st.decimals(-100, 100, places=12), max_size=20), st.sampled_from(("JPY", "CNY", "KWD")))
def test_carried_remainders_never_drift_by_more_than_half_a_unit(amounts: list[Decimal], currency: str) -> None:
    carried, billed = Decimal(0), 0
    for amount in amounts:
        minor, carried = round_carried(amount, carried, currency)
        billed += minor
    scale = 10 ** minor_units(currency)
    assert Fraction(billed, scale) + Fraction(carried) == sum(map(Fraction, amounts), Fraction(0))
    assert abs(Fraction(carried) * scale) <= Fraction(1, 2)


def test_sums_beyond_64_bits_stay_exact() -> None:
    rate = parse_rate({"model": "flat", "price": "999999999999999999.999999999999"})
    assert minor_of(amount_of(rate, 10**12), "CNY") == 10**32 - 100
    assert precise(Fraction(10**30) + Fraction(1, 10**12)) == Decimal("1000000000000000000000000000000.000000000001")


# Shares

cuts = st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)).map(sorted)
points = cuts.map(lambda cut: (cut[0], cut[1] - cut[0], 10_000 - cut[1]))
amounts = st.integers(-(10**20), 10**20)


@given(amounts, points)
def test_shares_add_up_and_nobody_is_off_by_a_unit(amount: int, parties: tuple[int, ...]) -> None:
    shares = shares_of(amount, parties)
    assert sum(shares) == amount
    assert all(abs(share - Fraction(amount * part, 10_000)) < 1 for share, part in zip(shares, parties, strict=True))
    assert shares_of(-amount, parties) == tuple(-share for share in shares)


@given(st.lists(amounts, min_size=1, max_size=8), points)
def test_by_whatever_corrections_the_parties_end_with_the_same(path: list[int], parties: tuple[int, ...]) -> None:
    steps = [share_change(before, after, parties) for before, after in zip([0, *path], path, strict=False)]
    assert tuple(sum(column) for column in zip(*steps, strict=True)) == shares_of(path[-1], parties)


def test_ties_go_to_the_earlier_party() -> None:
    assert shares_of(1, (5000, 5000, 0)) == (1, 0, 0)
    assert shares_of(100, (3333, 3333, 3334)) == (33, 33, 34)


@pytest.mark.parametrize("parties", [(5000, 4999), (10_001, -1), ()])
def test_shares_that_are_not_the_whole_are_refused(parties: tuple[int, ...]) -> None:
    with pytest.raises(Invalid) as refused:
        shares_of(1, parties)
    assert (refused.value.code, refused.value.field) == ("split_invalid", "split")
