"""What the charge sweep does for credit: let holds grow with their tasks, and do what budgets say. Set-based, repeatable.

A task that costs more than was held for it grows its hold while credit has room, else it is paused until there is. Budgets
count what is spent and held: each threshold that is reached raises one alert per period; beyond one that says so, the tasks
that run are paused or stopped. `published` is where webhooks listen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction

from core.money import text_of
from marketplace.budgets import Growth, grown, share_room
from marketplace.models import Allowance
from marketplace.services.credit import lock_allowances, push_limits
from scheduler.services.pausing import Pause, keep_pauses, stop_tasks

MOST: Final = 20_000  # tasks whose holds one sweep looks at

_OUTGROWN: Final = """
SELECT hold.task_id, hold.organization_id, hold.currency, hold.amount_micros, task.cost_micros, task.units_done, task.units_total,
       floor((task.constraints ->> 'max_price')::numeric * 1000000)::bigint
FROM marketplace_task task JOIN marketplace_hold hold ON hold.task_id = task.id
WHERE task.state IN ('queued', 'running') AND hold.state = 'held' AND task.cost_micros > hold.amount_micros
ORDER BY task.id LIMIT %s
"""
_GROW: Final = """
UPDATE marketplace_hold hold SET amount_micros = fresh.micros, by = 'cost'
FROM unnest(%s::uuid[], %s::bigint[]) AS fresh (task_id, micros)
WHERE hold.task_id = fresh.task_id AND hold.state = 'held' AND hold.amount_micros < fresh.micros
"""
_NEW_PERIODS: Final = """
UPDATE marketplace_budget budget SET spent_micros = 0, period_start = marketplace_budget_period(budget)
WHERE closed_at IS NULL AND period = 'month' AND period_start < marketplace_budget_period(budget)
"""
# marketplace/budgets.py: reached
_ALERTS: Final = """
INSERT INTO marketplace_budgetalert (budget_id, period_start, percent, action, amount_micros, spent_micros, held_micros, raised_at)
SELECT budget.id, budget.period_start, threshold.percent, threshold.action, amount_micros, spent_micros, held_micros, now()
FROM marketplace_budget budget
CROSS JOIN LATERAL jsonb_to_recordset(budget.thresholds) AS threshold (percent int, action text)
WHERE budget.closed_at IS NULL AND spent_micros + held_micros >= div(amount_micros::numeric * threshold.percent, 100)
ORDER BY budget.id, threshold.percent
ON CONFLICT (budget_id, period_start, percent, action) DO NOTHING
RETURNING id, budget_id, percent, action, amount_micros, spent_micros, held_micros
"""
# marketplace/budgets.py: acting. A stop is a pause too, for what cannot be stopped at once.
_ACTING: Final = """
SELECT task.id, budget.id, budget.name, acting.stops
FROM marketplace_budget budget
CROSS JOIN LATERAL (
    SELECT bool_or(threshold.action = 'stop') AS stops
    FROM jsonb_to_recordset(budget.thresholds) AS threshold (percent int, action text)
    WHERE threshold.action IN ('pause', 'stop')
      AND spent_micros + held_micros > div(amount_micros::numeric * threshold.percent, 100)) acting
JOIN marketplace_task task ON task.organization_id = budget.organization_id AND task.kind = 'user'
 AND task.state IN ('queued', 'running') AND task.terms ->> 'currency' = budget.currency
 AND marketplace_budget_counts(budget, task)
WHERE budget.closed_at IS NULL AND acting.stops IS NOT NULL ORDER BY task.id, budget.id
"""


@dataclass(frozen=True)
class Alert:
    """A threshold that was reached just now. Amounts in micros."""

    id: int
    budget: int
    percent: int
    action: str
    amount: int
    spent: int
    held: int


published: list[Callable[[Sequence[Alert]], None]] = []  # called with fresh alerts, in the transaction that raises them


def watch_credit() -> None:
    """All of it, in an order in which each step sees what the last one did."""
    grow_holds()
    raise_alerts()
    act_on_budgets()


def grow_holds() -> tuple[int, int]:
    """Let holds grow to what their tasks cost so far and are likely to. Returns tasks paused and resumed for want of credit."""
    parties = {organization for _, organization, *_ in _run(_OUTGROWN, [MOST])}
    push_limits(parties)
    with transaction.atomic():
        lock_allowances(parties)
        short = _grow([row for row in _run(_OUTGROWN, [MOST]) if row[1] in parties])
    told = "it cost {} more than was held for it, and the credit limit has no room: pay, or raise the limit"
    return keep_pauses("credit", [Pause(task, "credit", told.format(text_of(missing))) for task, missing in short])


def _grow(found: Sequence[Any]) -> list[tuple[UUID, int]]:
    """New holds under the lock of their allowances. Returns (task, micros missing) where there was no room for what it cost."""
    by_party: dict[tuple[int, str], list[tuple[UUID, Growth]]] = defaultdict(list)
    for task, organization, currency, held, so_far, done, total, cap in found:
        by_party[organization, currency].append((task, Growth(held, so_far, grown(held, so_far, done, total, cap))))
    allowances = Allowance.objects.filter(organization__in={organization for organization, _ in by_party})
    rooms = {(one.organization_id, one.currency): one.available_micros for one in allowances}
    fresh = list[tuple[UUID, Growth, int]]()
    for party, growths in by_party.items():
        given = share_room([growth for _, growth in growths], rooms[party])
        fresh += [(task, growth, micros) for (task, growth), micros in zip(growths, given, strict=True)]
    if fresh:
        _run(_GROW, [[task for task, *_ in fresh], [micros for *_, micros in fresh]])
    return [(task, growth.least - micros) for task, growth, micros in fresh if micros < growth.least]


@transaction.atomic
def raise_alerts() -> list[Alert]:
    """Begin new months, then raise an alert for every threshold that is reached for the first time in its period."""
    _run(_NEW_PERIODS, [])
    alerts = [Alert(*row[:4], *map(int, row[4:])) for row in _run(_ALERTS, [])]
    for publish in published if alerts else ():
        publish(alerts)
    return alerts


def act_on_budgets() -> None:
    """Pause or stop the tasks of budgets that are passed; resume those of budgets that have room again."""
    found = _run(_ACTING, [])
    keep_pauses("budget", [Pause(task, f"budget/{id_}", _told(name)) for task, id_, name, _ in found])
    stop_tasks({task: _told(name) for task, _, name, stops in found if stops})


def _told(name: str) -> str:
    return f"the budget {name!r} is passed by what is spent and held: raise it, or wait for its next period"


def _run(statement: str, params: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall()) if cursor.description else []
