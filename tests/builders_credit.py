"""Rows for stories about credit: tasks that are held, charged and settled without a scheduler."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from billing.services import charge_task
from core.money import MICROS
from marketplace.models import Allowance, Task
from marketplace.services.contracts import Draft, sign_contracts
from marketplace.services.credit import place_hold, push_limits
from tests.builders_billing import START, Market, make_attempt, make_need, make_task, make_usage


def allow(market: Market, units: int) -> None:
    """alice's organization may owe and hold so many whole units from now on."""
    sign_contracts([Draft(market.alice.pk, credit_limit_micros=units * MICROS)])
    push_limits([market.alice.pk])


def allowance(market: Market) -> Allowance:
    return Allowance.objects.get(organization=market.alice)


def held_task(market: Market, price: str | None = None, **fields: object) -> Task:
    """An open task with its hold for an estimate of so much."""
    task = make_task(market, state="running", **fields)
    place_hold(task, None if price is None else Decimal(price))
    return task


def use(market: Market, task: Task, price: str) -> None:
    """A result whose usage costs about so much (with the unit's fee of 0.002), by the market's 0.0001 a core-second."""
    core_ms = int((Decimal(price) - Decimal("0.002")) / Decimal("0.0001") * 1000)
    make_usage(market, task, make_attempt(market, task, make_need()), core_ms=core_ms)


def end(task: Task, state: str = "delivered") -> None:
    fields = {"units_done": task.units_total} if state == "delivered" else {}
    Task.objects.filter(pk=task.pk).update(state=state, ended_at=START, **fields)


def charged(market: Market, task: Task, price: str | None) -> UUID:
    """The task ends, having cost so much (None: it failed and costs nothing), and is charged."""
    if price is not None:
        use(market, task, price)
    end(task, "failed" if price is None else "delivered")
    assert charge_task(task.pk)
    return task.pk
