"""Charging a task: when it may, that it may be killed anywhere, and that two never charge the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

import billing.services
from billing.jobs import charge_job, sweep_job
from billing.models import Charge, CostSoFar
from billing.pricing import CEILING_MICROS
from billing.queries import is_balanced, trial_balance
from billing.services import charge_task, charge_tasks, refresh_costs
from marketplace.models import Task
from metering.services import measure
from tests.builders_billing import (
    Market,
    make_attempt,
    make_many_attempts,
    make_market,
    make_need,
    make_task,
    make_usage,
    table_counts,
)


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def task_with_usage(market: Market, attempts: int = 1, **fields: Any) -> Task:
    task = make_task(market, **fields)
    need = make_need()
    for _ in range(attempts):
        make_usage(market, task, make_attempt(market, task, need))
    return task


def test_an_open_task_is_not_charged(market: Market) -> None:
    assert not charge_task(task_with_usage(market, state="running").pk)
    assert not Charge.objects.exists()


def test_a_task_waits_for_the_record_of_its_last_attempt(market: Market) -> None:
    task = make_task(market)
    make_attempt(market, task, make_need())
    assert not charge_task(task.pk)
    measure()
    assert charge_task(task.pk)
    assert Charge.objects.filter(task=task).count() == 1


@pytest.mark.parametrize("state", ["leased", "running"])
def test_a_task_waits_for_attempts_that_live(market: Market, state: str) -> None:
    task = task_with_usage(market, state="failed")
    make_attempt(market, task, make_need(), state=state)
    assert not charge_task(task.pk)


def test_a_task_that_never_ran_is_settled_for_nothing(market: Market) -> None:
    task = make_task(market, "cancelled")
    assert charge_task(task.pk)
    task.refresh_from_db()
    assert (task.cost_micros, task.cost_final, task.settled_at is None) == (0, True, False)


def test_a_second_run_adds_nothing(market: Market) -> None:
    task = task_with_usage(market, 3)
    assert charge_task(task.pk)
    before = table_counts()
    assert not charge_task(task.pk)
    assert table_counts() == before


def test_a_big_task_is_charged_in_chunks_with_an_entry_each(market: Market, settings: Any) -> None:
    settings.CHUNK = 4
    task = task_with_usage(market, 10, units=10)
    assert charge_task(task.pk)
    entries = {charge.entry_id for charge in Charge.objects.filter(task=task)}
    assert (Charge.objects.filter(task=task).count(), len(entries)) == (10, 3)


def test_small_tasks_share_a_statement(market: Market, django_assert_max_num_queries: Any) -> None:
    tasks = [task_with_usage(market) for _ in range(20)]
    with django_assert_max_num_queries(21):
        assert len(charge_tasks([task.pk for task in tasks])) == 20


class Killed(BaseException):
    """What SIGKILL looks like from inside: nothing catches it."""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("statement", range(1, 14))
def test_a_killed_charger_leaves_whole_chunks_and_the_next_one_finishes(
    settings: Any, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    settings.CHUNK = 2
    market = make_market()
    task = task_with_usage(market, 5, units=5, terms={"fee_per_task": "1"})
    _die_before(statement, monkeypatch)
    with pytest.raises(Killed):
        for _ in range(20):
            charge_task(task.pk)
    monkeypatch.undo()
    assert is_balanced(trial_balance())
    assert Charge.objects.filter(entry=None).count() == 0
    charge_task(task.pk)
    task.refresh_from_db()
    assert (Charge.objects.count(), task.cost_final) == (6, True)
    assert task.cost_micros == 5 * 2150 + 1_000_000
    assert is_balanced(trial_balance())


def _die_before(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The charger dies before its n-th step, counted over statements and postings."""
    steps = iter(range(1, 1000))

    def deadly(step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            if next(steps) == number:
                raise Killed
            return step(*arguments)

        return wrapped

    for name in ("_run", "_post", "_insert_legs", "_settle"):
        monkeypatch.setattr(billing.services, name, deadly(getattr(billing.services, name)))


@pytest.mark.django_db(transaction=True)
def test_chargers_that_race_charge_everything_once(settings: Any) -> None:
    settings.CHUNK = 25
    market = make_market()
    tasks = [make_task(market, units=60) for _ in range(4)]
    for task in tasks:
        make_many_attempts(market, task, make_need(), 60)
    while measure().taken:
        pass
    barrier = threading.Barrier(3)
    settled: list[Any] = []

    def race() -> None:
        barrier.wait()
        settled.extend(charge_tasks([task.pk for task in tasks]))
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settled += charge_tasks([task.pk for task in tasks])
    assert sorted(settled) == sorted(task.pk for task in tasks)
    assert Charge.objects.count() == 240
    assert is_balanced(trial_balance())
    due = sum(Charge.objects.values_list("amount_micros", flat=True))
    assert sum(Task.objects.values_list("cost_micros", flat=True)) == due


def test_a_task_that_cannot_be_charged_stops_nobody_else(market: Market) -> None:
    good, wrong = task_with_usage(market), task_with_usage(market)
    Task.objects.filter(pk=wrong.pk).update(terms={"fee_per_unit": "much", "currency": "CNY"})
    assert charge_tasks([good.pk, wrong.pk]) == [good.pk]


def test_a_price_beyond_sense_is_charged_at_the_ceiling(db: None) -> None:
    market = make_market(rates={"core_second": "999999999999999999"})
    task = task_with_usage(market, terms={"fee_per_unit": "0"})
    assert charge_task(task.pk)
    assert Charge.objects.get().amount_micros == CEILING_MICROS


def test_usage_that_comes_while_prices_are_looked_up_is_counted_in_the_next_round(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_with_usage(market, state="running")
    with monkeypatch.context() as patched:
        patched.setattr("billing.services.open_prices", lambda own: "SELECT '[]'")
        assert refresh_costs() == 0
    assert not CostSoFar.objects.exists()
    assert refresh_costs() == 1
    assert CostSoFar.objects.get().task_id == task.pk


def test_what_is_counted_is_not_counted_again_when_older_usage_of_another_task_comes_late(market: Market) -> None:
    fields = {"state": "running", "terms": {"fee_per_unit": "0.5"}, "units": 3}
    late, task = (task_with_usage(market, **fields) for _ in range(2))
    refresh_costs()
    [once] = CostSoFar.objects.filter(task=task).values_list("micros", flat=True)
    CostSoFar.objects.filter(task=late).delete()  # as if its record had been committed only now
    make_usage(market, task, make_attempt(market, task, make_need()))
    refresh_costs()
    assert dict(CostSoFar.objects.values_list("task_id", "micros")) == {late.pk: once, task.pk: 2 * once}


def test_running_tasks_are_counted_apart_and_a_test_costs_nothing(market: Market) -> None:
    fields = {"state": "running", "units": 3}
    plain = task_with_usage(market, **fields)
    with_fee = task_with_usage(market, attempts=2, terms={"fee_per_unit": "0.5"}, **fields)
    test = task_with_usage(market, kind="test", **fields)
    Task.objects.filter(pk=plain.pk).update(terms=with_fee.terms | {"fee_per_unit": "0"})
    refresh_costs()
    have = dict(CostSoFar.objects.values_list("task_id", "micros"))
    assert have == {plain.pk: have[plain.pk], with_fee.pk: 2 * (have[plain.pk] + 500_000), test.pk: 0}
    assert have[plain.pk] > 0


def test_the_jobs_charge_and_forget_the_cost_so_far(market: Market) -> None:
    task = task_with_usage(market, state="running")
    refresh_costs()
    assert CostSoFar.objects.filter(task=task).exists()
    Task.objects.filter(pk=task.pk).update(state="delivered", units_done=1, ended_at=task.created_at)
    charge_job(str(task.pk))
    other = task_with_usage(market)
    sweep_job()
    assert not CostSoFar.objects.exists()
    assert not Task.objects.filter(pk__in=[task.pk, other.pk], settled_at=None).exists()
