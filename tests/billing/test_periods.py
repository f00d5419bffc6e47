"""What is charged when a month is over: every basis from the offer to the ledger, once, and provably."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.models import Charge, JournalEntry, Leg, ParkedPeriod, PeriodCharge, PeriodPreview
from billing.periods import rate_periods, safe_cutoff
from billing.queries import is_balanced, trial_balance
from tests.builders_billing import Market
from tests.builders_periods import MARCH, amount, at, close, period_market, period_offer, used

pytestmark = pytest.mark.django_db
PEAK = {"held_cores": "10"}


def the_charge() -> PeriodCharge:
    return PeriodCharge.objects.get()


def test_a_task_under_such_a_price_costs_only_its_fee_when_it_ends() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    charge = Charge.objects.get()
    assert (charge.reason, charge.payer, charge.amount_micros, charge.lines) == ("by_period", "user", 0, [])


def test_what_ran_at_once_adds_up_to_the_peak_and_what_ran_after_does_not() -> None:
    market = period_market("monthly_peak", PEAK)
    for begin, cores in (("2026-03-03 10:00", 4), ("2026-03-03 10:00", 2), ("2026-03-03 10:30", 5)):
        used(market, at(begin), 1800, cores)
    assert close(market).charges == 1
    charge = the_charge()
    assert (charge.raw, charge.amount_micros, charge.meter) == (Decimal(6), amount("60"), "held_cores")
    assert charge.evidence["peaks"][0]["winners"] == [{"local_day": "2026-03-03", "slot": 120, "value": "6", "rank": 1}]


def test_every_day_has_its_own_peak_where_days_are_billed() -> None:
    market = period_market(
        "daily_peak", {"held_cores": {"model": "volume", "tiers": [{"up_to": "4", "price": "1"}, {"price": "0.5"}]}}
    )
    used(market, at("2026-03-03 10:00"), 1800, 4)
    used(market, at("2026-03-04 10:00"), 1800, 8)
    close(market)
    assert [line["amount"] for line in the_charge().lines] == ["4", "4"]
    assert the_charge().amount_micros == amount("8")


def test_only_what_the_user_pays_for_raises_the_users_peak() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 1800, 4)
    used(market, at("2026-03-03 10:00"), 1800, 8, outcome="lost")
    used(market, at("2026-03-03 10:00"), 1800, 2, state="failed")
    close(market)
    assert {(one.payer, one.raw) for one in PeriodCharge.objects.all()} == {("user", Decimal(4)), ("platform", Decimal(2))}
    assert is_balanced(trial_balance())


def test_tiers_count_the_whole_months_quantity() -> None:
    tiers = {"model": "graduated", "tiers": [{"up_to": "1000", "price": "0.02"}, {"price": "0.01"}]}
    market = period_market("consumption", {"core_second": tiers, "gb_moved": "0.5"})
    for day in range(1, 5):
        used(market, at(f"2026-03-0{day} 10:00"), 400, bytes_in=10**9)
    close(market)
    charges = {one.meter: one for one in PeriodCharge.objects.all()}
    assert charges["core_second"].amount_micros == amount("26")
    assert charges["gb_moved"].amount_micros == amount("2")
    assert JournalEntry.objects.filter(kind="period").count() == 1


def test_quanta_are_counted_once_over_the_end_of_a_month() -> None:
    market = period_market("occupancy", {"occupancy_second": "0.01"}, {"quantum_s": 3600, "minimum_s": 7200})
    used(market, at("2026-03-31 23:50"), 8000, 2)
    close(market, MARCH)
    close(market, at("2026-04-02 00:00").date())
    march, april = PeriodCharge.objects.order_by("period")
    assert (march.raw, march.billed) == (Decimal(1200), Decimal(14400))
    assert (april.raw, april.billed) == (Decimal(14800), Decimal(2 * (3 * 3600 - 7200)))


def test_a_minimum_is_asked_for_when_the_month_is_over() -> None:
    rate = {"model": "package", "size": "1000", "price": "3", "minimum": "10"}
    market = period_market("consumption", {"core_second": rate})
    used(market, at("2026-03-03 10:00"), 1500)
    rate_periods([market.alice.pk], MARCH, safe_cutoff(), final=False)
    assert PeriodPreview.objects.get().total_micros == amount("6")
    close(market)
    assert [line["kind"] for line in the_charge().lines] == ["usage", "minimum"]
    assert the_charge().amount_micros == amount("10")


def test_a_surcharge_is_a_part_of_what_the_rest_costs() -> None:
    market = period_market("consumption", {"core_second": "0.01", "surcharge": {"model": "percentage", "percent": "12.5"}})
    used(market, at("2026-03-03 10:00"), 1000)
    close(market)
    assert {one.meter: one.amount_micros for one in PeriodCharge.objects.all()} == {
        "core_second": amount("10"),
        "surcharge": amount("1.25"),
    }


def test_a_preview_posts_nothing_and_the_next_one_replaces_it() -> None:
    market = period_market("monthly_peak", PEAK)
    for cores in (1, 2):
        used(market, at(f"2026-03-0{cores} 10:00"), 600, cores)
        rate_periods([market.alice.pk], MARCH, safe_cutoff(), final=False)
    assert PeriodPreview.objects.get().total_micros == amount("20")
    assert not PeriodCharge.objects.exists()


def test_a_second_run_adds_nothing_and_the_same_cutoff_gives_the_same_bytes() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    cutoff = safe_cutoff()
    used(market, at("2026-03-03 10:00"), 600, 4)
    assert close(market, cutoff=cutoff).charges == 1
    assert close(market, cutoff=cutoff).charges == 0
    assert (PeriodCharge.objects.count(), the_charge().raw) == (1, Decimal(4))


def test_any_number_of_customers_takes_the_same_statements(django_assert_max_num_queries: Any) -> None:
    markets = [period_market("monthly_peak", PEAK) for _ in range(5)]
    for market in markets:
        used(market, at("2026-03-03 10:00"), 600, 4)
    cutoff = safe_cutoff()
    with django_assert_max_num_queries(19):
        rate_periods([market.alice.pk for market in markets], MARCH, cutoff, final=True)
    assert PeriodCharge.objects.count() == 5


def test_the_parties_get_their_parts_and_the_entry_balances() -> None:
    market = period_market("monthly_peak", {"held_cores": "0.000033"})
    used(market, at("2026-03-03 10:00"), 600, 1)
    close(market)
    charge = the_charge()
    assert (charge.amount_micros, charge.provider_micros, charge.platform_micros) == (33, 31, 2)
    legs = {leg.account.kind: leg.debit_micros - leg.credit_micros for leg in Leg.objects.select_related("account")}
    assert legs == {"user_receivable": 33, "provider_payable": -31, "platform_revenue": -2}


def test_a_price_beyond_sense_is_parked_and_posts_nothing() -> None:
    market = period_market("monthly_peak", {"held_cores": "999999999"})
    used(market, at("2026-03-03 10:00"), 600, 4)
    assert (close(market).charges, close(market).parked, ParkedPeriod.objects.get().reason) == (0, 0, "bound")
    assert not PeriodCharge.objects.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_periodcharge SET amount_micros = 0",
        "DELETE FROM billing_periodcharge",
        "TRUNCATE billing_periodcharge CASCADE",
    ],
)
def test_what_was_charged_is_never_changed(statement: str) -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    for role in ("origin", "replica"):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL session_replication_role = {role}")
            cursor.execute(statement)


def copied(charge: PeriodCharge, **fields: Any) -> PeriodCharge:
    values = {
        field.attname: getattr(charge, field.attname) for field in PeriodCharge._meta.concrete_fields if not field.primary_key
    }
    return PeriodCharge(**(values | fields))


def test_one_subject_has_one_base_for_any_time() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    with pytest.raises(IntegrityError, match="period_charged_once"), transaction.atomic():
        copied(the_charge()).save()
    with pytest.raises(IntegrityError, match="period_revision_follows|does not go on"), transaction.atomic():
        copied(the_charge(), revision=1, base_id=the_charge().pk).save()


def test_two_prices_within_a_month_have_a_peak_each() -> None:
    rules = {"peak": {"kind": "month_mean_day_peak", "day_factor": True}}
    market = period_market("monthly_peak", {"held_cores": "31"}, rules, end=at("2026-03-11 00:00"))
    used(market, at("2026-03-03 10:00"), 600, 4)
    market.offer = period_offer(market.pool, "monthly_peak", {"held_cores": "62"}, rules, start=at("2026-03-11 00:00"))
    used(market, at("2026-03-12 10:00"), 600, 2)
    close(market)
    assert sorted(PeriodCharge.objects.values_list("amount_micros", flat=True)) == [amount("4"), amount("4")]


def test_months_end_where_the_customers_day_ends(market_of_peaks: Market) -> None:
    used(market_of_peaks, at("2026-03-31 23:50"), 1200, 4)
    close(market_of_peaks)
    close(market_of_peaks, at("2026-04-15 00:00").date())
    march, april = PeriodCharge.objects.order_by("period")
    assert (march.period.upper, april.period.lower) == (at("2026-04-01 00:00"), at("2026-04-01 00:00"))
    assert (march.raw, april.raw) == (Decimal(4), Decimal(4))


@pytest.fixture
def market_of_peaks() -> Market:
    return period_market("monthly_peak", PEAK)
