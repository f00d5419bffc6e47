"""What proves a charge, what corrects it, what is parked, what is not billed yet, and what it would have cost elsewhere."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db.models import Sum

from billing.correcting import charge_corrections, correct_usage
from billing.models import Charge, ParkedPeriod, PeriodCharge
from billing.periods import correct_periods, safe_cutoff
from billing.periods.deciding import approve, refuse
from billing.periods.evidence import evidence_of_charge, evidence_of_period
from billing.periods.imagining import Candidate, compare
from billing.periods.prices import parse_price
from billing.periods.unbilled import unbilled_of
from billing.queries import FIRST, Statement, is_balanced, lines_of, total_of, trial_balance
from billing.services import charge_tasks
from core.errors import Conflict, Invalid, NotFound
from marketplace.models import Task
from tests.builders import olga
from tests.builders_billing import make_attempt, make_market, make_need, make_task, make_usage
from tests.builders_periods import MARCH, amount, at, close, corrected, period_market, used

pytestmark = pytest.mark.django_db
PEAK = {"held_cores": "10"}
APRIL, JUNE = date(2026, 4, 1), date(2026, 6, 1)


def test_the_evidence_of_a_peak_has_its_slots_its_rank_and_what_was_removed() -> None:
    market = period_market("monthly_peak", PEAK, {"peak": {"kind": "month_mean_day_peak", "day": "day_kth", "day_k": 2}})
    used(market, at("2026-03-03 10:00"), 600, 4)
    used(market, at("2026-03-03 10:05"), 300, 2)
    close(market)
    found = evidence_of_period(PeriodCharge.objects.get())
    assert (found["facts"]["count"], found["facts"]["matches"]) == (2, True)
    assert [record["milli_cores"] for record in found["facts"]["records"]] == [4000, 2000]
    (peak,) = found["peaks"]["found"]
    assert peak["removed"] == [{"local_day": "2026-03-03", "slot": 121, "at": "2026-03-03T02:05:00Z", "value": 6000}]
    assert (peak["winners"][0]["rank"], peak["winners"][0]["value"], found["billed"]) == (2, 4000, "4")
    assert found["peaks"]["days"][0]["slots"][120:122] == [4000, 6000]


def test_later_usage_leaves_the_evidence_of_what_was_charged_as_it_was() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    before = evidence_of_period(PeriodCharge.objects.get())
    used(market, at("2026-03-03 10:00"), 600, 4)
    assert evidence_of_period(PeriodCharge.objects.get()) == before


def test_the_evidence_of_a_task_charge_names_the_row_of_the_reason_table() -> None:
    market = make_market()
    task = make_task(market)
    usage = make_usage(market, task, make_attempt(market, task, make_need()))
    charge_of(task)
    found = evidence_of_charge(Charge.objects.get(usage=usage))
    assert found["reason_row"] == {"work": "valid", "ending": "delivered", "payer": "user", "fee": True}
    assert (found["meters"]["core_second"], found["price"]["rates"]["core_second"]) == ("1.5", "0.0001")
    assert found["usage"]["claimed"]["core_ms"] == 1500
    assert found["digest"] == evidence_of_charge(Charge.objects.get(usage=usage))["digest"]


def charge_of(task: Task) -> None:
    charge_tasks([task.pk])


def test_late_usage_adds_the_difference_and_keeps_the_old_period() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    used(market, at("2026-03-03 10:00"), 600, 2)
    correct_periods([market.alice.pk], APRIL, safe_cutoff())
    base, revision = PeriodCharge.objects.order_by("revision")
    assert (base.amount_micros, revision.amount_micros, revision.base_id) == (amount("40"), amount("20"), base.pk)
    assert (revision.period, revision.total_micros) == (base.period, amount("60"))
    assert correct_periods([market.alice.pk], APRIL, safe_cutoff()).charges == 0
    assert is_balanced(trial_balance())


def test_corrected_usage_gives_back_what_was_too_much() -> None:
    market = period_market(
        "consumption", {"core_second": {"model": "graduated", "tiers": [{"up_to": "100", "price": "1"}, {"price": "2"}]}}
    )
    usage = used(market, at("2026-03-03 10:00"), 150)
    close(market)
    corrected(usage, core_ms=50_000)
    correct_periods([market.alice.pk], APRIL, safe_cutoff())
    assert list(PeriodCharge.objects.order_by("revision").values_list("amount_micros", flat=True)) == [
        amount("200"),
        amount("-150"),
    ]
    assert PeriodCharge.objects.aggregate(sum=Sum("provider_micros"))["sum"] == amount("47.5")
    assert is_balanced(trial_balance())


def test_usage_of_older_months_waits_for_a_word_and_is_posted_as_it_was_parked() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    done = correct_periods([market.alice.pk], JUNE, safe_cutoff())
    assert (done.charges, done.parked) == (0, 1)
    parked = ParkedPeriod.objects.get()
    assert (parked.reason, int(parked.total_micros)) == ("late", amount("40"))
    assert correct_periods([market.alice.pk], JUNE, safe_cutoff()).parked == 0
    approve([parked.pk], olga().user, "seen")
    assert PeriodCharge.objects.get().amount_micros == amount("40")
    with pytest.raises(Conflict, match="decided already"):
        refuse([parked.pk], olga().user)


def test_a_correction_of_an_older_month_waits_for_a_word_too() -> None:
    market = period_market("monthly_peak", PEAK)
    usage = used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    corrected(usage, held_core_ms=600_000)
    assert correct_periods([market.alice.pk], JUNE, safe_cutoff()).parked == 1
    assert (ParkedPeriod.objects.get().before_micros, PeriodCharge.objects.count()) == (amount("40"), 1)


def test_what_was_refused_is_never_posted_until_the_facts_are_others() -> None:
    market = period_market("monthly_peak", {"held_cores": "999999999"})
    usage = used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    refuse([ParkedPeriod.objects.get().pk], olga().user)
    assert (close(market).charges, close(market).parked) == (0, 0)
    corrected(usage, held_core_ms=600_000)
    assert close(market).charges == 1


def test_nothing_is_parked_under_a_number_nobody_knows() -> None:
    with pytest.raises(NotFound):
        approve([1], olga().user)


def test_a_corrected_record_of_a_charged_task_is_charged_the_difference_once() -> None:
    market = make_market()
    task = make_task(market)
    usage = make_usage(market, task, make_attempt(market, task, make_need()))
    charge_of(task)
    made = correct_usage(usage.pk, {"core_ms": 500})
    delta = Charge.objects.get(kind="delta")
    assert (delta.amount_micros, delta.usage_id, delta.reason) == (-100, made.pk, "corrected")
    assert (delta.provider_micros, delta.platform_micros, delta.publisher_micros) == (-95, -5, 0)
    assert charge_corrections([made.pk]) == 0
    task.refresh_from_db()
    assert task.cost_micros == 50 + 2000
    assert is_balanced(trial_balance())
    correct_usage(usage.pk, {"core_ms": 1500})
    assert sum(Charge.objects.values_list("amount_micros", flat=True)) == 150 + 2000


def test_a_correction_within_a_price_cap_takes_only_what_the_cap_leaves() -> None:
    market = make_market(rates={"core_second": "1"})
    task = make_task(market, max_price="2", terms={"fee_per_unit": "0"})
    usage = make_usage(market, task, make_attempt(market, task, make_need()))
    charge_of(task)
    correct_usage(usage.pk, {"core_ms": 1900})
    correct_usage(usage.pk, {"core_ms": 2000, "wall_ms": 5000})
    correct_usage(usage.pk, {"core_ms": 9000})
    assert sum(Charge.objects.values_list("amount_micros", flat=True)) == amount("2")
    assert Charge.objects.latest("pk").lines[-1]["meter"] == "price_cap"


def test_corrections_beyond_sense_are_refused() -> None:
    market = make_market()
    task = make_task(market)
    usage = make_usage(market, task, make_attempt(market, task, make_need()))
    with pytest.raises(Conflict, match="not charged yet"):
        correct_usage(usage.pk, {"core_ms": 5})
    charge_of(task)
    for wrong in ({"wall_ms": 10**9}, {"core_ms": -1}, {"fp32_gflop": 1}):
        with pytest.raises(Invalid):
            correct_usage(usage.pk, wrong)


def test_a_statement_shows_what_was_charged_by_period_and_adds_up() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    start, end = at("2026-01-01 00:00"), at("2100-01-01 00:00")
    for party, whose in (("user", market.alice), ("provider", market.bob)):
        statement = Statement(party, whose, "CNY", start, end, "pool")
        lines, _ = lines_of(statement, FIRST)
        assert [(line["kind"], amount(line["share"])) for line in lines] == [("period", total_of(statement))]


def test_what_is_not_billed_says_why() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    task = make_task(market, "running")
    make_usage(market, task, make_attempt(market, task, make_need()))
    make_attempt(market, task, make_need())
    assert {row["reason"]: row["count"] for row in unbilled_of(market.alice)} == {"not_measured": 1, "task_open": 1, "by_period": 1}
    close(market)
    assert {row["reason"] for row in unbilled_of(market.alice)} == {"not_measured", "task_open"}
    assert unbilled_of(market.bob) == []
    assert {row["reason"] for row in unbilled_of(None)} == {"not_measured", "task_open"}


def test_what_if_rates_the_same_usage_under_other_bases_by_the_same_engine() -> None:
    market = period_market("monthly_peak", PEAK)
    used(market, at("2026-03-03 10:00"), 600, 4)
    used(market, at("2026-03-04 10:00"), 600, 2)
    close(market)
    candidates = [
        Candidate("the same", parse_price("monthly_peak", PEAK, {})),
        Candidate("by day", parse_price("daily_peak", PEAK, {})),
        Candidate("by use", parse_price("consumption", {"core_second": "0.01"}, {})),
        Candidate("by hour", parse_price("occupancy", {"occupancy_second": "0.01"}, {"quantum_s": 3600})),
    ]
    found = compare(market.alice, MARCH, candidates)
    assert found["actual"]["total"] == "40.000000"
    assert [one["total"] for one in found["candidates"]] == ["40.000000", "60.000000", "36.000000", "216.000000"]
    assert found["candidates"][1]["difference"] == "20.000000"


def test_what_if_of_tasks_leaves_out_the_publishers_fee() -> None:
    market = make_market(rates={"core_second": "1"})
    task = make_task(market)
    make_usage(market, task, make_attempt(market, task, make_need()))
    charge_of(task)
    found: dict[str, Any] = compare(
        market.alice, MARCH, [Candidate("double", parse_price("consumption", {"core_second": "2"}, {}))]
    )
    assert (found["actual"]["total"], found["candidates"][0]["total"]) == ("1.500000", "3.000000")
