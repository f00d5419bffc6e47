"""Service levels: what a provider promised, how a day kept it, and what comes back to the customer - from the provider alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.correcting import correct_usage
from billing.invoices.closing import close_all
from billing.models import Charge, InvoiceLine, SLACredit, SLADay, SLAMeasurement, SLATerms
from billing.queries import Statement, is_balanced, lines_of, total_of, trial_balance
from billing.services import charge_task
from billing.sla.deciding import checked, credit_of, digest_of, share_of
from billing.sla.measuring import measure_days
from billing.sla.terms import Draft, end, promise, terms_seen_by, withdraw
from core.errors import Conflict, Invalid
from marketplace.models import MaintenanceWindow, Task
from tests import builders as build
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_offer, make_task, make_usage
from tests.builders_disputes import decided, disputed
from tests.builders_invoices import balance, make_tax

DAY = timedelta(days=1)
MARCH_2 = datetime(2026, 3, 2, 12, tzinfo=UTC)
THEN = datetime(2026, 3, 3, 12, tzinfo=UTC)  # the day that is measured
AFTER = datetime(2026, 3, 4, 2, tzinfo=UTC)
STEPS = [[9900, 1000], [9000, 2500]]


@pytest.fixture
def market(db: None) -> Market:
    return make_market(rates={"core_second": "1"})


def promised(market: Market, kind: str = "deadline", steps: Any = STEPS, **more: Any) -> SLATerms:
    (made,) = promise([Draft(market.pool, kind, steps, **more)], None, MARCH_2)
    return made


def task_of(market: Market, state: str = "delivered", *, at: datetime = THEN, held_ms: int = 10_000, **usage: Any) -> Task:
    """A task with a deadline that ended, and was charged 10 CNY if it was delivered, at a moment."""
    task = make_task(market, state, terms={"fee_per_unit": "0", "platform_basis_points": 500})
    Task.objects.filter(pk=task.pk).update(deadline=at)
    make_usage(market, task, make_attempt(market, task, make_need()), core_ms=10_000, held_core_ms=held_ms, **usage)
    assert charge_task(task.pk)
    Task.objects.filter(pk=task.pk).update(settled_at=at, ended_at=at)
    return task


def test_a_day_that_missed_its_target_gives_back_what_was_promised_and_the_provider_bears_it(market: Market) -> None:
    terms = promised(market)
    kept = [task_of(market) for _ in range(7)]
    missed = task_of(market, "expired")
    before = {party: balance(*party) for party in accounts_of(market)}
    assert measure_days(AFTER) == 7
    measured = SLAMeasurement.objects.get()
    assert (measured.terms, measured.day, measured.organization) == (terms, date(2026, 3, 3), market.alice)
    assert (measured.good, measured.total, measured.credit_basis_points) == (7, 8, 2500)
    assert (measured.covered_micros, measured.credit_micros) == (70_000_000, 17_500_000)
    assert measured.evidence["missed"] == [str(missed.pk)]
    assert bytes(measured.digest) == digest_of(measured.evidence)
    given_back = SLACredit.objects.order_by("task")
    assert {one.task_id for one in given_back} == {one.pk for one in kept}
    for one in given_back:
        charge = one.charge
        assert (charge.amount_micros, charge.provider_micros, charge.publisher_micros, charge.platform_micros) == (
            -2_500_000, -2_500_000, 0, 0,
        )  # fmt: skip
    changes = [balance(*party) - before[party] for party in accounts_of(market)]
    assert changes == [-17_500_000, 17_500_000, 0]
    assert is_balanced(trial_balance())
    assert measure_days(AFTER) == 0
    assert SLADay.objects.filter(day=date(2026, 3, 3)).count() == 1


def test_terms_of_a_pool_that_does_not_admit_an_organization_are_not_shown_to_it(market: Market) -> None:
    terms = promised(market)
    for fields in ({"allow_organizations": [market.carol.slug]}, {"deny_organizations": [market.alice.slug]}):
        type(market.pool).objects.filter(pk=market.pool.pk).update(allow_organizations=[], deny_organizations=[])
        assert list(terms_seen_by(market.alice)) == [terms]
        type(market.pool).objects.filter(pk=market.pool.pk).update(**fields)
        assert (list(terms_seen_by(market.alice)), list(terms_seen_by(market.carol))) == ([], [terms])
    own = promised(market, customer=market.alice.pk)
    assert (list(terms_seen_by(market.alice)), set(terms_seen_by(market.bob))) == ([own], {own, terms})


def test_what_proves_a_credit_can_be_asked_for(market: Market) -> None:
    promised(market)
    task_of(market)
    task_of(market, "expired")
    measure_days(AFTER)
    charge = Charge.objects.get(kind="sla")
    answer = build.client_of(build.olga()).get(f"/api/v1/charges/{charge.pk}/evidence")
    assert (answer.status_code, answer.json()["reason"], answer.json()["lines"][0]["amount"]) == (200, "sla/deadline", "-2.500000")


def test_the_worked_example_is_this_one() -> None:
    worked = (Path(__file__).parents[2] / "docs/billing/sla.md").read_text().split("## Worked")[1]
    assert credit_of(STEPS, 7, 8, 1) == 2500
    assert all(text in worked for text in ("25 % of 70.00 CNY, 17.50", "2.50 for each of the seven"))


def accounts_of(market: Market) -> list[tuple[Any, ...]]:
    return [("user_receivable", market.alice), ("provider_payable", market.bob), ("platform_revenue",)]


def test_a_day_that_kept_its_target_gives_nothing_back_and_is_on_record(market: Market) -> None:
    promised(market)
    task_of(market)
    assert measure_days(AFTER) == 0
    assert (SLAMeasurement.objects.get().credit_micros, Charge.objects.filter(kind="sla").exists()) == (0, False)


def test_a_day_that_is_not_over_or_was_not_promised_is_not_judged(market: Market) -> None:
    promised(market)
    task_of(market, "expired", at=MARCH_2)
    task_of(market, "expired")
    assert measure_days(THEN + timedelta(hours=12)) == 0  # the day ended this minute: tasks may still be settling
    assert not SLAMeasurement.objects.exists()
    measure_days(AFTER)
    assert SLAMeasurement.objects.get().total == 1


def test_a_customers_own_terms_come_before_everybodys(market: Market) -> None:
    everybody = promised(market, steps=[[10_000, 100]])
    own = promised(market, steps=[[10_000, 5000]], customer=market.alice.pk)
    task_of(market)
    task_of(market, "expired")
    measure_days(AFTER)
    assert SLAMeasurement.objects.get().terms == own
    assert everybody.measurements.count() == 0


def test_availability_is_of_what_was_held_and_the_nodes_own_losses_count_against_it(market: Market) -> None:
    market.offer = make_offer(market.pool, "occupancy", {"occupancy_second": "1"})
    promised(market, "availability", minimum=5)
    task_of(market, held_ms=90_000, offer=market.offer)
    task_of(market, held_ms=10_000, offer=market.offer, outcome="lost", reason_class="node_fault")
    assert measure_days(AFTER) == 1
    measured = SLAMeasurement.objects.get()
    assert (measured.good, measured.total, measured.credit_basis_points) == (90_000, 100_000, 1000)
    assert measured.credit_micros == 9_000_000


def test_what_was_taken_back_in_maintenance_announced_a_day_before_does_not_count_against_it(market: Market) -> None:
    market.offer = make_offer(market.pool, "occupancy", {"occupancy_second": "1"})
    promised(market, "availability")
    window = (THEN, THEN + timedelta(hours=2))
    MaintenanceWindow.objects.create(pool=market.pool, period=window, announced_at=THEN - 2 * DAY)
    taken = {"outcome": "failed", "reason_class": "reclaimed", "offer": market.offer}
    task_of(market, held_ms=5_000, ended_at=THEN, **taken)
    measure_days(AFTER)
    assert SLAMeasurement.objects.get().credit_basis_points == 0


def test_two_promises_of_a_pool_give_back_at_most_all(market: Market) -> None:
    market.offer = make_offer(market.pool, "occupancy", {"occupancy_second": "1"})
    for kind in ("deadline", "availability"):
        promised(market, kind, steps=[[10_000, 8000]])
    task_of(market, offer=market.offer)
    task_of(market, "expired", offer=market.offer, outcome="lost", reason_class="node_fault")
    measure_days(AFTER)
    assert -sum(Charge.objects.filter(kind="sla").values_list("amount_micros", flat=True)) == 10_000_000


def test_the_invoice_shows_it_as_a_line_with_tax_and_statements_add_up(market: Market) -> None:
    promised(market)
    make_tax(market.alice, percent="6")
    task_of(market)
    task_of(market, "expired")
    measure_days(AFTER)
    now = datetime.now(UTC)
    close_all(now + 60 * DAY, [market.alice.pk], everything=True)
    lines = InvoiceLine.objects.filter(invoice__organization=market.alice, kind="sla")
    assert [(line.amount_micros, line.tax_micros, line.charges) for line in lines] == [(-2_500_000, -150_000, 1)]
    for party, whose in (("user", market.alice), ("provider", market.bob)):
        statement = Statement(party, whose, "CNY", MARCH_2 - 300 * DAY, now + DAY)
        told = sum(Decimal(line["share"]) for line in lines_of(statement)[0])
        assert told * 10**6 == total_of(statement)


def test_what_was_given_back_is_not_disputed_a_second_time(market: Market) -> None:
    promised(market, steps=[[10_000, 9000]])
    task = task_of(market)
    task_of(market, "expired")
    measure_days(AFTER)
    charge = Charge.objects.get(task=task, kind="usage")
    decided(disputed(market.alice, charge))
    assert sum(Charge.objects.filter(task=task).values_list("amount_micros", flat=True)) == 0
    with pytest.raises(Conflict, match="given back|dispute"):
        correct_usage(charge.usage_id or 0, {"core_ms": 1})


@given(
    good=st.integers(0, 10**6), more=st.integers(0, 10**6), paid=st.lists(st.integers(0, 10**13), max_size=5),
    thresholds=st.sets(st.integers(1, 10_000), min_size=1, max_size=4),
    parts=st.sets(st.integers(1, 10_000), min_size=4, max_size=4),
)  # fmt: skip
def test_a_worse_day_never_gives_back_less_and_no_more_than_was_paid(
    good: int, more: int, paid: list[int], thresholds: set[int], parts: set[int]
) -> None:
    falling = sorted(thresholds, reverse=True)
    steps = checked([[threshold, credit] for threshold, credit in zip(falling, sorted(parts), strict=False)])
    total = good + more
    credit = credit_of(steps, good, total, 1)
    if good:
        assert credit_of(steps, good - 1, total, 1) >= credit
    for micros in paid:
        assert 0 <= share_of(micros, credit) <= micros


@pytest.mark.parametrize(
    "steps", [[], [[9900]], [[9900, 0]], [[0, 100]], [[10_001, 1]], [[9000, 1000], [9900, 2000]], [[9900, 1000], [9000, 1000]]]
)
def test_steps_that_make_no_sense_are_refused(steps: Any) -> None:
    with pytest.raises(Invalid) as refused:
        checked(steps)
    assert (refused.value.code, refused.value.field) == ("sla_steps_invalid", "steps")


def test_terms_begin_tomorrow_do_not_overlap_and_are_only_ended(market: Market) -> None:
    terms = promised(market)
    with pytest.raises(Conflict) as refused:
        promised(market)
    assert refused.value.code == "sla_terms_overlap"
    with pytest.raises(Invalid):
        promise([Draft(market.pool, "deadline", STEPS, first=MARCH_2.date())], None, MARCH_2)
    with pytest.raises(DatabaseError), transaction.atomic():
        SLATerms.objects.filter(pk=terms.pk).update(steps=[[5000, 1]])
    with pytest.raises(Conflict):
        end(terms, MARCH_2)  # they have not begun
    assert end(terms, THEN).valid.upper == datetime(2026, 3, 4, tzinfo=UTC)
    with pytest.raises(Conflict):
        end(terms, AFTER)


def test_terms_that_have_not_begun_are_withdrawn_once_and_leave_their_place_to_others(market: Market) -> None:
    terms, olga = promised(market, steps=[[10_000, 5000]]), build.olga().user
    for moment in (MARCH_2, THEN):
        assert (withdraw(terms, olga, moment).withdrawn_at, terms.withdrawn_by) == (MARCH_2, olga)
    instead = promised(market)
    task_of(market)
    task_of(market, "expired")
    measure_days(AFTER)
    assert SLAMeasurement.objects.get().terms == instead
    with pytest.raises(Conflict):
        end(terms, THEN)
    with pytest.raises(Conflict):
        withdraw(instead, None, THEN)
    changes: list[dict[str, Any]] = [{"withdrawn_at": None, "withdrawn_by": None}, {"withdrawn_by": None}]
    for change in changes:
        with pytest.raises(DatabaseError), transaction.atomic():
            SLATerms.objects.filter(pk=terms.pk).update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        SLATerms.objects.filter(pk=instead.pk).update(withdrawn_at=THEN)


@pytest.mark.django_db
def test_a_provider_withdraws_its_own_terms_by_the_door_and_nobody_elses() -> None:
    bob, pool = build.bob(), build.a_pool()
    body = {"pool": pool.identifier, "kind": "deadline", "steps": STEPS}
    made = build.client_of(bob).post("/api/v1/sla/terms", body).json()
    door = f"/api/v1/sla/terms/{made['id']}/withdraw"
    assert (made["withdrawn_at"], build.client_of(build.mallory()).post(door).status_code) == (None, 404)
    assert build.client_of(bob).post(door).json()["withdrawn_at"] is not None
    assert SLATerms.objects.get().withdrawn_by == bob.user


@pytest.mark.django_db(transaction=True)
def test_of_two_that_measure_a_day_at_once_one_does() -> None:
    market = make_market(rates={"core_second": "1"})
    promised(market)
    task_of(market)
    task_of(market, "expired")
    barrier, given_back = Barrier(2), []

    def one() -> None:
        barrier.wait()
        try:
            given_back.append(measure_days(AFTER))
        finally:
            connections.close_all()

    threads = [Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given_back) == [0, 1]
    assert SLACredit.objects.count() == 1
