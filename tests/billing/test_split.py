"""The split and the cap: nothing is made, nothing is lost, nobody is off by more than a micro."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import capped, split_of
from marketplace.pricing import Usage, fee_of, lines_of, price_of

micros = st.integers(0, 10**13)


@given(micros, micros, st.integers(0, 10_000))
def test_the_parts_add_up_and_each_is_within_a_micro_of_its_share(resource: int, fee: int, points: int) -> None:
    split = split_of(resource, fee, points)
    assert split.provider + split.publisher + split.platform == resource + fee
    kept = Fraction(10_000 - points, 10_000)
    exact = (resource * kept, fee * kept, Fraction((resource + fee) * points, 10_000))
    for part, share in zip((split.provider, split.publisher, split.platform), exact, strict=True):
        assert part >= 0
        assert abs(part - share) < 1


def test_ties_go_to_the_provider_then_the_publisher() -> None:
    assert split_of(1, 0, 5000).provider == 1
    assert split_of(0, 1, 5000).publisher == 1
    assert split_of(1, 1, 5000) == split_of(1, 1, 5000)
    assert (split_of(1, 1, 5000).provider, split_of(1, 1, 5000).publisher, split_of(1, 1, 5000).platform) == (1, 0, 1)


@given(micros, micros, st.one_of(st.none(), st.integers(-5, 2 * 10**13)))
def test_a_cap_cuts_both_parts_in_proportion(resource: int, fee: int, left: int | None) -> None:
    part, fee_part = capped(resource, fee, left)
    assert 0 <= part <= resource
    assert 0 <= fee_part <= fee
    assert part + fee_part == (resource + fee if left is None else min(resource + fee, max(left, 0)))


def test_consumption_is_priced_by_what_was_used() -> None:
    rates = {"core_second": Decimal("0.0001"), "gb_moved": Decimal("0.5"), "occupancy_second": Decimal(9)}
    usage = Usage(core_ms=2500, held_core_ms=9999, bytes_moved=2_000_000_000)
    assert price_of("consumption", rates, usage) == Decimal("1.00025")


def test_occupancy_is_priced_by_what_was_held() -> None:
    assert price_of("occupancy", {"occupancy_second": Decimal("0.01")}, Usage(core_ms=1, held_core_ms=4000)) == Decimal("0.04")


def test_a_result_is_priced_per_valid_unit() -> None:
    assert price_of("result", {"result": Decimal("0.3")}, Usage(results=3)) == Decimal("0.9")


def test_a_meter_that_costs_nothing_has_no_line() -> None:
    rates = {"core_second": Decimal(0), "gb_moved": Decimal(1)}
    assert lines_of("consumption", rates, Usage(core_ms=5)) == []


def test_doubling_a_price_doubles_the_amount_exactly() -> None:
    usage = Usage(core_ms=123_456_789, fp32_gflop=Decimal("0.000001"))
    rates = {"core_second": Decimal("0.000000000001"), "fp32_tflop": Decimal("999999999999999999.999999999999")}
    doubled = {meter: 2 * price for meter, price in rates.items()}
    assert price_of("consumption", doubled, usage) == 2 * price_of("consumption", rates, usage)


def test_the_publishers_fee_counts_units_and_the_delivery() -> None:
    terms = {"fee_per_unit": "0.002", "fee_per_task": "1"}
    assert fee_of(terms, units=10, delivered=True) == Decimal("1.020")
    assert fee_of(terms, units=10, delivered=False) == Decimal("0.020")
