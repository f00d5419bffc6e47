"""Budgets: opened, changed, closed. A new one counts what its scope has spent and holds already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from core.errors import Conflict, Invalid
from marketplace.budgets import MOST_MICROS, Threshold, parse_thresholds
from marketplace.models import ApiKey, Budget, Membership, Organization, Task
from marketplace.services.contracts import terms_of

EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST_BUDGETS: Final = 200

_COUNT: Final = """
UPDATE marketplace_budget budget SET
  spent_micros = (SELECT coalesce(sum(charge.amount_micros), 0)
    FROM billing_charge charge JOIN marketplace_task task ON task.id = charge.task_id
    WHERE task.organization_id = budget.organization_id AND charge.currency = budget.currency AND charge.payer = 'user'
      AND charge.charged_at >= budget.period_start AND marketplace_budget_counts(budget, task))
    + (SELECT coalesce(sum(counted.micros), 0)
    FROM billing_budgetedperiod counted JOIN billing_periodcharge charge ON charge.id = counted.charge_id
    WHERE counted.budget_id = budget.id AND charge.rated_at >= budget.period_start),
  held_micros = (SELECT coalesce(sum(hold.amount_micros::numeric - hold.captured_micros), 0)
    FROM marketplace_hold hold JOIN marketplace_task task ON task.id = hold.task_id
    WHERE hold.organization_id = budget.organization_id AND hold.currency = budget.currency AND hold.state = 'held'
      AND marketplace_budget_counts(budget, task))
WHERE id = %s
"""


@dataclass(frozen=True)
class Wanted:
    """A budget to be opened. `subject`: a project, a username, a key's prefix, a task's id; empty for an organization."""

    name: str
    scope: str
    subject: str
    currency: str
    period: str
    amount_micros: int
    thresholds: Sequence[Threshold]


def open_budget(organization: Organization, wanted: Wanted) -> Budget:
    """Open a budget; from its transaction's end on it counts every hold and charge. Raises Invalid `budget_invalid`, Conflict."""
    now = timezone.now()
    zone = terms_of([organization.pk])[organization.pk].zone
    month = now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    budget = Budget(
        organization=organization, name=wanted.name, scope=wanted.scope, currency=wanted.currency, period=wanted.period,
        zone=zone.key, period_start=month if wanted.period == Budget.Period.MONTH else EVER, created_at=now,
        amount_micros=_amount(wanted.amount_micros), thresholds=_stored(wanted.thresholds),
        **_subject(organization, wanted.scope, wanted.subject),
    )  # fmt: skip
    with transaction.atomic(), connection.cursor() as cursor:
        # under the allowance's lock: no hold and no charge of the organization comes in between counting and the commit
        cursor.execute("SELECT marketplace_lock_allowances(ARRAY[%s]::bigint[], ARRAY[%s])", [organization.pk, wanted.currency])
        if Budget.objects.filter(organization=organization, closed_at=None).count() >= MOST_BUDGETS:
            raise Conflict("too_many_budgets", f"an organization has at most {MOST_BUDGETS} budgets: close one")
        budget.save(force_insert=True)
        cursor.execute("SELECT billing_budget_periods(%s)", [budget.pk])
        cursor.execute(_COUNT, [budget.pk])
    budget.refresh_from_db()
    return budget


def _stored(thresholds: Sequence[Threshold]) -> list[dict[str, Any]]:
    return [asdict(one) for one in parse_thresholds([asdict(one) for one in thresholds])]


def _amount(micros: int) -> int:
    if not 0 < micros <= MOST_MICROS:
        raise Invalid("budget_invalid", "an amount above zero", field="amount")
    return micros


def _subject(organization: Organization, scope: str, subject: str) -> dict[str, Any]:
    """The column that says whose tasks are meant. Only the organization's own people, keys and tasks are found."""
    if scope == Budget.Scope.ORGANIZATION:
        found: Any = None if subject else {}
    elif scope == Budget.Scope.PROJECT:
        found = {"project": subject} if subject else None
    elif scope == Budget.Scope.USER:
        member = Membership.objects.filter(organization=organization, user__username=subject).first()
        found = member and {"user_id": member.user_id}
    elif scope == Budget.Scope.KEY:
        key = ApiKey.objects.filter(organization=organization, prefix=subject).first()
        found = key and {"api_key": key}
    else:
        task = Task.objects.filter(organization=organization, pk__in=_uuids(subject)).first()
        found = task and {"task": task}
    if found is None:
        raise Invalid("budget_invalid", f"there is no such {scope} here", field="subject")
    return dict(found)


def _uuids(text: str) -> list[UUID]:
    try:
        return [UUID(text)]
    except ValueError:
        return []


def change_budget(budget: Budget, **changes: Any) -> Budget:
    """Another name, amount (`amount_micros`) or other `thresholds`. Raises Conflict `budget_closed` for one that is closed."""
    if "amount_micros" in changes:
        _amount(changes["amount_micros"])
    if "thresholds" in changes:
        changes["thresholds"] = _stored(changes["thresholds"])
    if changes and not Budget.objects.filter(pk=budget.pk, closed_at=None).update(**changes):
        raise Conflict("budget_closed", "this budget is closed")
    return Budget.objects.get(pk=budget.pk)


def close_budget(budget: Budget) -> None:
    """It limits nothing any more; what it counted stays to be read."""
    Budget.objects.filter(pk=budget.pk, closed_at=None).update(closed_at=timezone.now())
