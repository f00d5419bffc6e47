"""A month closed twice at once, and any way in which usage may arrive: one bill, the same bill."""

from __future__ import annotations

import threading
from datetime import date
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import Sum
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.models import PeriodCharge
from billing.periods import rate_periods, safe_cutoff
from billing.periods.prices import parse_price
from billing.periods.rating import Month, Usage, rate_usage
from billing.queries import is_balanced, trial_balance
from metering.peaks import Interval, day_start
from metering.peaks.grid import moment_of
from tests.builders_periods import MARCH, amount, at, close, period_market, used

ZONE = ZoneInfo("Asia/Shanghai")
FIRST, LAST = day_start(MARCH, ZONE), day_start(date(2026, 4, 1), ZONE)
MONTH = Month(MARCH, ZONE, moment_of(FIRST), moment_of(LAST))
MINUTE = 60 * 1_000_000
RUNS = st.lists(st.tuples(st.integers(0, 44_000), st.integers(1, 600), st.integers(1, 64)), max_size=12)


@pytest.mark.django_db(transaction=True)
def test_a_month_that_is_closed_twice_at_once_is_charged_once() -> None:
    market = period_market("monthly_peak", {"held_cores": "10"})
    used(market, at("2026-03-03 10:00"), 600, 4)
    cutoff, barrier = safe_cutoff(), threading.Barrier(3)
    done: list[int] = []

    def race() -> None:
        barrier.wait()
        done.append(rate_periods([market.alice.pk], MARCH, cutoff, final=True).charges)
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 0, 1]
    assert PeriodCharge.objects.get().amount_micros == amount("40")


@pytest.mark.django_db
def test_usage_billed_late_in_any_slices_comes_to_what_it_had_come_to_at_once() -> None:
    tiers = {"model": "graduated", "tiers": [{"up_to": "100", "price": "0.000003"}, {"price": "0.000001"}], "minimum": "0.0005"}
    markets = [period_market("consumption", {"core_second": tiers}) for _ in range(2)]
    for number in range(5):
        for market in markets:
            used(market, at(f"2026-03-0{number + 1} 10:00"), 77)
        close(markets[0])
    close(markets[1])
    sums = [
        PeriodCharge.objects.filter(organization=market.alice).aggregate(
            total=Sum("amount_micros"), provider=Sum("provider_micros"), platform=Sum("platform_micros")
        )
        for market in markets
    ]
    assert sums[0] == sums[1]
    assert is_balanced(trial_balance())


def month_of(runs: list[tuple[int, int, int]]) -> Usage:
    bounds = [(FIRST + start * MINUTE, min(FIRST + (start + length) * MINUTE, LAST), cores) for start, length, cores in runs]
    return Usage({}, {"held_cores": [Interval(start, end, 1000 * cores) for start, end, cores in bounds]})


@given(RUNS, st.randoms(), st.sampled_from(["month_max", "month_p95", "month_mean_day_peak", "month_topk_mean"]))
@settings(max_examples=15, deadline=None)
def test_the_order_of_usage_changes_nothing_and_double_the_price_is_double_the_bill(
    runs: list[tuple[int, int, int]], random: object, kind: str
) -> None:
    once, twice = (parse_price("monthly_peak", {"held_cores": price}, {"peak": {"kind": kind}}) for price in ("3", "6"))
    shuffled = list(runs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first = rate_usage(once, month_of(runs), MONTH, (None, None), final=True)
    assert rate_usage(once, month_of(shuffled), MONTH, (None, None), final=True) == first
    doubled = rate_usage(twice, month_of(runs), MONTH, (None, None), final=True)
    assert [2 * Fraction(one.amount) for one in first] == pytest.approx([Fraction(one.amount) for one in doubled], abs=1e-11)


@given(RUNS, RUNS)
@settings(max_examples=15, deadline=None)
def test_more_usage_never_lowers_the_highest_peak(runs: list[tuple[int, int, int]], more: list[tuple[int, int, int]]) -> None:
    price = parse_price("monthly_peak", {"held_cores": "1"}, {})
    bills = [rate_usage(price, month_of(one), MONTH, (None, None), final=True) for one in (runs, runs + more)]
    less, all_ = (sum((Fraction(line.amount) for line in bill), Fraction(0)) for bill in bills)
    assert less <= all_
