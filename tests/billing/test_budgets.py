"""Budgets: what they count, whom they refuse, and what they do to tasks that run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.credit.budgets import Wanted, change_budget, close_budget, open_budget
from billing.credit.proving import prove_credit
from billing.credit.watching import Alert, act_on_budgets, grow_holds, published, raise_alerts, watch_credit
from billing.telling import tell_alerts
from core.errors import Conflict, DomainError, Invalid
from marketplace.budgets import Threshold, acting, reached
from marketplace.models import ApiKey, Budget, BudgetAlert, Hold, Membership, Task, TaskPause, User
from scheduler.models import Unit
from scheduler.services.explaining import explain_task
from scheduler.services.placing import run_round
from tests.builders import a_pool
from tests.builders_billing import Market, make_market
from tests.builders_credit import allow, allowance, charged, held_task
from tests.builders_tasks import a_task

CNY = 1_000_000
BLOCK = (Threshold(80, "notify"), Threshold(100, "block"))


@pytest.fixture
def market(db: None) -> Market:
    return make_market()


def a_budget(market: Market, amount: int = 10, *, thresholds: Any = BLOCK, **fields: Any) -> Budget:
    wanted = {"name": "a budget", "scope": "organization", "subject": "", "currency": "CNY", "period": "month"} | fields
    return open_budget(market.alice, Wanted(**wanted, amount_micros=amount * CNY, thresholds=thresholds))


def counted(budget: Budget) -> tuple[int, int]:
    budget.refresh_from_db()
    return int(budget.spent_micros), int(budget.held_micros)


def test_a_budget_counts_what_is_held_and_what_is_charged(market: Market) -> None:
    budget = a_budget(market)
    task = held_task(market, "4")
    assert counted(budget) == (0, 4 * CNY)
    charged(market, task, "3")
    assert counted(budget) == (3 * CNY, 0)
    assert prove_credit() == 0


def test_a_new_budget_counts_what_was_there_before_it(market: Market) -> None:
    charged(market, held_task(market, "4"), "3")
    held_task(market, "2")
    assert counted(a_budget(market)) == (3 * CNY, 2 * CNY)
    assert prove_credit() == 0


def test_a_task_beyond_a_budget_is_refused_and_every_crossed_limit_is_named(market: Market) -> None:
    allow(market, 9)
    tight, loose = a_budget(market, 5, name="tight"), a_budget(market, 8, name="loose")
    a_budget(market, 1, name="tells only", thresholds=(Threshold(100, "notify"),))
    with pytest.raises(Conflict) as refused:
        held_task(market, "9.5")
    assert refused.value.code == "budget_exhausted"
    assert [(one["limit"], one["budget"]) for one in refused.value.data["crossed"]] == [
        ("budget", tight.pk), ("budget", loose.pk), ("credit", None),
    ]  # fmt: skip
    held_task(market, "5")


@pytest.mark.parametrize("scope", ["project", "user", "key", "task"])
def test_every_scope_counts_its_own_tasks_only(market: Market, scope: str) -> None:
    person = User.objects.create(username="alice")
    Membership.objects.create(organization=market.alice, user=person, role="owner")
    key = ApiKey.objects.create(
        organization=market.alice, user=person, name="k", prefix="abc", secret_hash="0" * 64, scopes=["*"]
    )
    mine = {"labels": {"project": "film"}, "user": person, "api_key": key}
    task = held_task(market, "2", **mine)
    subjects = {"project": "film", "user": "alice", "key": "abc", "task": str(task.pk)}
    budget = a_budget(market, scope=scope, subject=subjects[scope])
    held_task(market, "1", labels={"project": "other"})
    assert counted(budget) == (0, 2 * CNY)
    charged(market, task, "3")
    assert counted(budget) == (3 * CNY, 0)
    assert prove_credit() == 0


@pytest.mark.parametrize("scope", ["project", "user", "key", "task", "organization"])
def test_a_subject_that_is_not_there_is_refused(market: Market, scope: str) -> None:
    with pytest.raises(Invalid) as refused:
        a_budget(market, scope=scope, subject="mallory" if scope != "project" else "")
    assert (refused.value.code, refused.value.field) == ("budget_invalid", "subject")


def test_a_closed_budget_refuses_nobody_and_is_not_changed(market: Market) -> None:
    budget = a_budget(market, 1)
    close_budget(budget)
    held_task(market, "5")
    with pytest.raises(Conflict):
        change_budget(budget, name="again")


def test_a_raised_budget_lets_work_in_again(market: Market) -> None:
    budget = a_budget(market, 1)
    with pytest.raises(DomainError):
        held_task(market, "5")
    change_budget(budget, amount_micros=5 * CNY)
    held_task(market, "5")


def last_month(budget: Budget) -> None:
    """As if the budget had counted last month: only a superuser may turn the period back."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing may be pending
        cursor.execute("ALTER TABLE marketplace_budget DISABLE TRIGGER budget_stays")
        cursor.execute("UPDATE marketplace_budget SET period_start = period_start - interval '1 month' WHERE id = %s", [budget.pk])
        cursor.execute("ALTER TABLE marketplace_budget ENABLE ALWAYS TRIGGER budget_stays")


@pytest.mark.parametrize("by", ["submit", "charge", "sweep"])
def test_a_new_month_begins_with_nothing_spent(market: Market, by: str) -> None:
    budget = a_budget(market)
    charged(market, held_task(market, "4"), "8")
    last_month(budget)
    if by == "submit":
        held_task(market, "9")
    elif by == "charge":
        charged(market, held_task(market, "2"), "2")
        assert counted(budget) == (2 * CNY, 0)
    else:
        raise_alerts()
        assert counted(budget) == (0, 0)


def test_an_alert_is_raised_once_per_threshold_and_period(market: Market, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Alert] = []
    monkeypatch.setattr("billing.credit.watching.published", [heard.extend])
    budget = a_budget(market, 10)
    held_task(market, "8")
    assert [(one.percent, one.action) for one in raise_alerts()] == [(80, "notify")]
    assert raise_alerts() == []
    charged(market, held_task(market, "2"), "2")
    raise_alerts()
    assert [(one.budget, one.percent) for one in heard] == [(budget.pk, 80), (budget.pk, 100)]
    assert BudgetAlert.objects.count() == 2
    monkeypatch.undo()
    assert published == [tell_alerts]  # webhooks listen


def test_a_passed_budget_pauses_what_runs_and_resumes_it_when_there_is_room(db: None) -> None:
    a_pool()
    task = a_task(inputs={"count": 3})
    assert run_round() == 3
    market = Market(task.organization, *[None] * 6)  # type: ignore[arg-type]  # only alice is asked
    Hold.objects.filter(pk=task.pk).update(amount_micros=6 * CNY)
    budget = a_budget(market, 5, thresholds=(Threshold(100, "pause"),))
    watch_credit()
    assert set(Unit.objects.filter(task=task).values_list("state", flat=True)) == {"waiting"}
    assert run_round() == 0
    waiting = explain_task(task)["waiting"]
    assert (waiting["reason"], waiting["units"]) == ("budget", 3)
    assert "a budget" in waiting["detail"]
    watch_credit()
    assert TaskPause.objects.count() == 1
    change_budget(budget, amount_micros=7 * CNY)
    watch_credit()
    assert not TaskPause.objects.exists()
    assert run_round() == 3


def test_a_budget_that_stops_ends_what_runs(db: None) -> None:
    a_pool()
    task = a_task(inputs={"count": 3})
    market = Market(task.organization, *[None] * 6)  # type: ignore[arg-type]  # only alice is asked
    Hold.objects.filter(pk=task.pk).update(amount_micros=6 * CNY)
    a_budget(market, 5, thresholds=(Threshold(100, "stop"),))
    act_on_budgets()
    task.refresh_from_db()
    assert task.cancel_requested_at is not None
    assert (task.reason_class, "a budget" in task.reason) == ("user_cancel", True)
    act_on_budgets()
    assert Task.objects.get(pk=task.pk).cancel_requested_at == task.cancel_requested_at


def test_a_task_that_outgrows_its_hold_extends_it_while_there_is_room(market: Market) -> None:
    allow(market, 10)
    task = held_task(market, "2", units=4)
    Task.objects.filter(pk=task.pk).update(cost_micros=3 * CNY, units_done=2)
    assert grow_holds() == (0, 0)
    hold = Hold.objects.get(pk=task.pk)
    assert (hold.amount_micros, hold.by) == (6 * CNY, "cost")
    assert int(allowance(market).held_micros) == 6 * CNY
    grow_holds()
    assert Hold.objects.get(pk=task.pk).amount_micros == 6 * CNY


def test_a_task_that_outgrows_the_credit_limit_waits_until_there_is_room(market: Market) -> None:
    allow(market, 3)
    task = held_task(market, "2")
    Task.objects.filter(pk=task.pk).update(cost_micros=5 * CNY)
    assert grow_holds() == (1, 0)
    assert Hold.objects.get(pk=task.pk).amount_micros == 3 * CNY
    pause = TaskPause.objects.get(task=task)
    assert (pause.source, "2.000000 more" in pause.detail) == ("credit", True)
    allow(market, 6)
    assert grow_holds() == (0, 1)
    assert Hold.objects.get(pk=task.pk).amount_micros == 5 * CNY
    assert not TaskPause.objects.exists()


def test_growth_takes_a_constant_number_of_statements(market: Market) -> None:
    counts = []
    for size in (2, 12):
        tasks = [held_task(market, "1") for _ in range(size)]
        Task.objects.filter(pk__in=[task.pk for task in tasks]).update(cost_micros=2 * CNY)
        with CaptureQueriesContext(connection) as seen:
            watch_credit()
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_a_budget_keeps_what_it_counts(market: Market) -> None:
    budget = a_budget(market)
    rows = Budget.objects.filter(pk=budget.pk)
    for change in ({"scope": "task"}, {"currency": "USD"}, {"period_start": timezone.now() - timedelta(days=90)}):
        with pytest.raises(DatabaseError), transaction.atomic():
            rows.update(**change)
    close_budget(budget)
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.update(closed_at=None)


amounts = st.integers(0, 2_000)
listed = st.lists(st.builds(Threshold, st.integers(1, 200), st.sampled_from(("notify", "block", "pause", "stop"))),
                  min_size=1, max_size=4, unique=True)  # fmt: skip


@pytest.mark.django_db
@given(st.integers(1, 1_000), listed, amounts, amounts)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_postgresql_reaches_the_same_thresholds_as_the_rule(amount: int, told: list[Threshold], spent: int, held: int) -> None:
    with transaction.atomic():
        market = make_market()
        task = held_task(market, "0")
        budget = a_budget(market, 1, thresholds=told)
        Budget.objects.filter(pk=budget.pk).update(amount_micros=amount, spent_micros=spent, held_micros=held)
        found = {(one.percent, one.action) for one in raise_alerts()}
        assert found == {(one.percent, one.action) for one in reached(amount, told, spent, held)}
        act_on_budgets()
        expected = acting(amount, told, spent, held)
        assert TaskPause.objects.filter(task=task).exists() == (expected is not None)
        assert (Task.objects.get(pk=task.pk).cancel_requested_at is not None) == (expected == "stop")
        transaction.set_rollback(True)
