"""Holds and allowances: what a task sets aside when it is handed in, and what an organization may still spend.

The allowance's row is locked, the limits are asked, the hold is written: so of two submits at once the second sees the
first one's hold. Sums follow by triggers (`marketplace/models/credit.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core.errors import Conflict, DomainError, PaymentRequired
from core.money import text_of
from marketplace.budgets import Limit, Wish, crossed, parse_thresholds, room_of, wish_of
from marketplace.models import Allowance, Hold, SpendBlock, Task
from marketplace.services.contracts import terms_of

FIELD: Final = "constraints.max_price"

# Made on demand, told its limit, locked and read, all at once. Blocks are read as of the statement's begin.
_LOCK: Final = """
INSERT INTO marketplace_allowance AS allowance (organization_id, currency, limit_micros, prepaid_micros, unpaid_micros, held_micros)
VALUES (%(organization)s, %(currency)s, %(limit)s, 0, 0, 0)
ON CONFLICT (organization_id, currency) DO UPDATE SET limit_micros = excluded.limit_micros
RETURNING limit_micros + prepaid_micros - unpaid_micros - held_micros,
  (SELECT block.reason || CASE WHEN block.detail = '' THEN '' ELSE ': ' || block.detail END FROM marketplace_spendblock block
    WHERE block.organization_id = %(organization)s AND block.lifted_at IS NULL ORDER BY block.id LIMIT 1)
"""
_BUDGETS: Final = """
SELECT budget.id, budget.name, budget.amount_micros, budget.thresholds::text,
       CASE WHEN budget.period_start < marketplace_budget_period(budget) THEN 0 ELSE budget.spent_micros END, budget.held_micros
FROM marketplace_budget budget JOIN marketplace_task task ON task.id = %(task)s
WHERE budget.organization_id = %(organization)s AND budget.currency = %(currency)s AND budget.closed_at IS NULL
  AND marketplace_budget_counts(budget, task) ORDER BY budget.id
"""
_PUSH: Final = """
INSERT INTO marketplace_allowance AS allowance (organization_id, currency, limit_micros, prepaid_micros, unpaid_micros, held_micros)
SELECT terms.organization, terms.currency, terms.micros, 0, 0, 0
FROM unnest(%s::bigint[], %s::text[], %s::numeric[]) AS terms (organization, currency, micros) ORDER BY 1, 2
ON CONFLICT (organization_id, currency) DO UPDATE SET limit_micros = excluded.limit_micros
WHERE allowance.limit_micros <> excluded.limit_micros
"""


@dataclass(frozen=True)
class Party:
    """One organization in one currency, with its limit there in micros."""

    organization: int
    currency: str
    limit: int


def place_hold(task: Task, price_p90: Decimal | None) -> Hold | None:
    """Set aside what a task may cost, in the transaction that writes the task. None for tests, which the platform pays.

    price_p90   in the task's currency: nine of ten such tasks cost no more; None: nobody knows

    Raises PaymentRequired `credit_exhausted | payment_overdue`, Conflict `budget_exhausted`, with the limits in the way.
    """
    if task.kind == Task.Kind.TEST:
        return None
    cap = task.constraints.get("max_price")
    wish = wish_of(price_p90, None if cap is None else Decimal(cap), settings.LEAST_HOLD_MICROS)
    party = _party(task.organization_id, task.terms["currency"])
    if short := crossed(_limits(task, party), wish.micros):
        raise _refusal(short, wish, party.currency)
    return Hold.objects.create(
        task=task, organization_id=party.organization, currency=party.currency,
        amount_micros=wish.micros, by=wish.by, held_at=timezone.now(),
    )  # fmt: skip


def _party(organization: int, currency: str) -> Party:
    terms = terms_of([organization])[organization]
    return Party(organization, currency, terms.credit_limit_micros if terms.currency == currency else 0)


def _limits(task: Task, party: Party) -> list[Limit]:
    """Every limit that a task is under, the allowance's row locked until the end of the transaction."""
    params: dict[str, Any] = {"organization": party.organization, "currency": party.currency, "limit": party.limit, "task": task.pk}
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, params)
        room, blocked = cursor.fetchone()
        if blocked is not None:
            raise PaymentRequired("payment_overdue", f"nothing new is taken until this is settled: {blocked}")
        cursor.execute(_BUDGETS, params)  # a statement of its own: it sees what the last holder of the lock committed
        budgets = [_budget_limit(*row) for row in cursor.fetchall()]
    return [Limit("credit", int(room)), *(one for one in budgets if one is not None)]


def _budget_limit(id_: int, name: str, amount: int, thresholds: str, spent: Decimal, held: Decimal) -> Limit | None:
    listed = parse_thresholds(orjson.loads(thresholds))
    room = room_of(amount, listed, int(spent), int(held))
    return None if room is None else Limit("budget", room, id_, name)


def _refusal(short: list[Limit], wish: Wish, currency: str) -> DomainError:
    binds = short[0]
    kind, code = (PaymentRequired, "credit_exhausted") if binds.kind == "credit" else (Conflict, "budget_exhausted")
    what = "the credit limit" if binds.kind == "credit" else f"the budget {binds.name!r}"
    detail = f"{text_of(wish.micros)} {currency} are to be held for this task; {what} has {text_of(max(binds.room, 0))} left"
    data = {"available": text_of(binds.room), "needed": text_of(wish.micros), "currency": currency, "held_by": wish.by}
    return kind(code, detail, field=FIELD, **data, remedy=_remedy(binds), crossed=[_told(one) for one in short])


def _remedy(binds: Limit) -> str:
    lower = "lower constraints.max_price, or wait for tasks that run to be charged"
    if binds.kind == "credit":
        return f"pay what is unpaid, add to the wallet, ask for a higher limit, {lower}"
    return f"raise the budget or wait for its next period, {lower}"


def _told(one: Limit) -> dict[str, Any]:
    return {"limit": one.kind, "budget": one.id, "name": one.name or None, "available": text_of(one.room)}


def resolve_holds(tasks: Iterable[Any]) -> int:
    """Resolve the holds of tasks whose charges are all written: captured, or released where they cost nothing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketplace_hold SET state = CASE WHEN captured_micros > 0 THEN 'captured' ELSE 'released' END, "
            "resolved_at = now() WHERE task_id = ANY(%s) AND state = 'held'",
            [list(tasks)],
        )
        return int(cursor.rowcount)


def push_limits(organizations: Iterable[int] | None = None) -> int:
    """Tell allowances the limits of the contracts in force now. None: all that there are. Returns how many changed.

    An organization that is named gets an allowance in its contract's currency.
    """
    known = Allowance.objects.all() if organizations is None else Allowance.objects.filter(organization__in=set(organizations))
    pairs = set(known.values_list("organization_id", "currency"))
    terms = terms_of({pair[0] for pair in pairs} if organizations is None else organizations)
    pairs |= set() if organizations is None else {(one.organization, one.currency) for one in terms.values()}
    listed = [(o, c, terms[o].credit_limit_micros if terms[o].currency == c else 0) for o, c in sorted(pairs)]
    if not listed:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_PUSH, [list(column) for column in zip(*listed, strict=True)])
        return int(cursor.rowcount)


def allowances_of(organizations: Iterable[int]) -> list[Allowance]:
    """What these organizations may spend, one row per currency, with the limits of now."""
    listed = list(organizations)
    push_limits(listed)
    found = Allowance.objects.filter(organization__in=listed).select_related("organization")
    return list(found.order_by("organization", "currency"))


def lock_allowances(organizations: Iterable[int]) -> None:
    """Lock all allowances of organizations in the order of their ids, before touching several of them."""
    rows = Allowance.objects.filter(organization__in=set(organizations)).order_by("pk")
    list(rows.select_for_update(no_key=True).values_list("pk", flat=True))


def block_organizations(organizations: Iterable[int], reason: str, detail: str = "") -> set[int]:
    """Let these hand in nothing new until the reason is lifted. Returns those that were not blocked for it yet."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO marketplace_spendblock (organization_id, reason, detail, blocked_at) "
            "SELECT DISTINCT id, %s, %s, %s::timestamptz FROM unnest(%s::bigint[]) AS blocked (id) ORDER BY 1 "
            "ON CONFLICT (organization_id, reason) WHERE lifted_at IS NULL DO NOTHING RETURNING organization_id",
            [reason[:40], detail[:300], now, list(organizations)],
        )
        return {organization for (organization,) in cursor.fetchall()}


def unblock_organizations(organizations: Iterable[int], reason: str) -> set[int]:
    """Lift a block. Returns those that were blocked for this reason."""
    with transaction.atomic():
        open_ones = SpendBlock.objects.filter(organization__in=set(organizations), reason=reason, lifted_at=None)
        found = dict(open_ones.select_for_update().values_list("pk", "organization_id"))
        SpendBlock.objects.filter(pk__in=list(found)).update(lifted_at=timezone.now())
    return set(found.values())

