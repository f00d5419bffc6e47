"""Budgets count what is charged by month: all of it, or the part of their own tasks, once, and provably."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from billing.credit.budgets import Wanted, open_budget
from billing.credit.proving import prove_credit
from billing.credit.watching import raise_alerts
from billing.models import BudgetedPeriod
from billing.periods import rate_periods, safe_cutoff
from marketplace.budgets import Threshold
from marketplace.models import ApiKey, Budget, Membership, Task, User
from metering.models import UsageRecord
from tests.builders_billing import Market
from tests.builders_periods import MARCH, amount, at, close, corrected, period_market, period_offer, used

pytestmark = pytest.mark.django_db
TOLD = (Threshold(80, "notify"), Threshold(100, "block"))
PEAK = {"held_cores": "10"}


def a_budget(market: Market, scope: str = "organization", subject: str = "", micros: int = 10**9, period: str = "month") -> Budget:
    return open_budget(market.alice, Wanted("a budget", scope, subject, "CNY", period, micros, TOLD))


def spent(budget: Budget) -> int:
    budget.refresh_from_db()
    return int(budget.spent_micros)


def of(usage: UsageRecord, **fields: Any) -> Task:
    Task.objects.filter(pk=usage.task_id).update(**fields)
    return usage.task


def test_a_budget_of_the_organization_counts_all_of_a_month_and_its_corrections() -> None:
    market = period_market("monthly_peak", PEAK)
    budget = a_budget(market)
    usage = used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    assert spent(budget) == amount("40")
    corrected(usage, held_core_ms=1_200_000)
    rate_periods([market.alice.pk], MARCH, safe_cutoff(), final=True)
    assert spent(budget) == amount("20")
    assert prove_credit() == 0


def test_every_other_scope_counts_the_part_of_its_tasks() -> None:
    market = period_market("monthly_peak", PEAK)
    person = User.objects.create(username="alice")
    Membership.objects.create(organization=market.alice, user=person, role="owner")
    key = ApiKey.objects.create(organization=market.alice, user=person, name="k", prefix="abc", secret_hash="0" * 64, scopes=["*"])
    mine = of(used(market, at("2026-03-03 10:00"), 600, 1), labels={"project": "film"}, user=person, api_key=key)
    of(used(market, at("2026-03-03 10:00"), 600, 3), labels={"project": "other"})
    subjects = {"project": "film", "user": "alice", "key": "abc", "task": str(mine.pk)}
    before = [a_budget(market, scope, subject) for scope, subject in subjects.items()]
    close(market)
    after = [a_budget(market, scope, subject) for scope, subject in subjects.items()]
    assert {spent(budget) for budget in (*before, *after)} == {amount("10")}
    assert spent(a_budget(market)) == amount("40")
    assert prove_credit() == 0


def test_the_part_is_of_the_price_list_that_was_charged() -> None:
    market = period_market("consumption", {"core_second": {"model": "flat", "price": "0.01"}})
    own = period_offer(market.pool, "consumption", {"core_second": "1"}, start=at("2026-03-10 00:00"), customer=market.alice)
    of(used(market, at("2026-03-03 10:00"), 100), labels={"project": "film"})
    later = used(market, at("2026-03-12 10:00"), 100)
    of(later, priced_at=at("2026-03-12 00:00"))
    close(market)
    assert own.pk
    assert spent(a_budget(market, "project", "film")) == amount("1")


def test_what_the_platform_pays_counts_nowhere_and_other_budgets_stay_as_they_are() -> None:
    market, other = period_market("monthly_peak", PEAK), period_market("monthly_peak", PEAK)
    budgets = [a_budget(market), a_budget(other)]
    used(market, at("2026-03-03 10:00"), 600, 4, state="failed")
    close(market)
    assert [spent(budget) for budget in budgets] == [0, 0]


def test_a_month_that_passes_a_threshold_raises_its_alert() -> None:
    market = period_market("monthly_peak", PEAK)
    budget = a_budget(market, micros=amount("50"))
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    assert [(alert.budget, alert.percent) for alert in raise_alerts()] == [(budget.pk, 80)]


def test_what_a_budget_counts_is_never_changed() -> None:
    market = period_market("monthly_peak", PEAK)
    a_budget(market)
    used(market, at("2026-03-03 10:00"), 600, 4)
    close(market)
    assert BudgetedPeriod.objects.get().micros == amount("40")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE billing_budgetedperiod SET micros = 0")
