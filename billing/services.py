"""What billing does: charge ended tasks, and tell open ones what they cost so far.

Every step may be killed and repeated anywhere. A chunk of charges, its journal entry and its legs commit together;
the next chunk starts after the last charge of the task; a task's own row, locked, keeps two chargers apart.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from billing.models import Account, CostSoFar
from billing.rating_sql import COUNTED, OPEN, open_groups, open_prices, open_sums
from billing.sql import CHARGE, COUNT_SO_FAR, FEES, LOCK, LOCK_ALLOWANCES, PUSH_SO_FAR, READY, SETTLE
from marketplace.models import Task
from marketplace.services.credit import resolve_holds
from marketplace.webhooks.outbox import publish_tasks

log = logging.getLogger(__name__)

SO_FAR_LOCK = 0x67_66_63_6F  # advisory: one counter of costs so far at a time
WINDOW = 1_000_000  # numbers of usage records that one round of costs so far looks at
CHARGING_LOCK = 0x67_66_63_68  # advisory: shared by who charges tasks, held alone by who takes a period's cutoff


class Posting(NamedTuple):
    """The sum of a chunk's charges for one set of parties, all of one journal entry (None if nothing is owed)."""

    entry: int | None
    organization: int
    provider: int | None
    publisher: int | None
    currency: str
    payer: str
    charges: int
    amount: int
    provider_micros: int
    publisher_micros: int
    platform_micros: int


class Side(NamedTuple):
    """An account as its natural key."""

    kind: str
    organization: int | None
    currency: str


def charge_task(task: UUID) -> bool:
    """Charge one ended task. True if it is settled now; False if it is not ready, or somebody else is at it."""
    return bool(charge_tasks([task]))


def charge_tasks(tasks: Iterable[UUID]) -> list[UUID]:
    """Charge those of the tasks that have ended and are measured; returns the tasks settled by this call.

    Small tasks share statements, a big one is charged in chunks of settings.CHUNK. A task that cannot be charged
    is left for an operator (its row stays unsettled, the error is logged) and does not hold up the others.
    """
    settled: list[UUID] = []
    for group in _groups(_run(READY, list(tasks))):
        settled += _charge_apart(group)
    return settled


def _groups(ready: Sequence[tuple[UUID, int]]) -> Iterator[list[UUID]]:
    """Tasks in groups of about a chunk of units."""
    group: list[UUID] = []
    units = 0
    for task, size in ready:
        if group and units + size > settings.CHUNK:
            yield group
            group, units = [], 0
        group.append(task)
        units += size
    if group:
        yield group


def _charge_apart(group: list[UUID]) -> list[UUID]:
    """Charge a group together; if that fails, each alone, so that one wrong task stops nobody else."""
    try:
        return _charge_group(group)
    except DatabaseError:
        if len(group) == 1:
            log.exception("task %s cannot be charged", group[0])
            return []
    return [task for one in group for task in _charge_apart([one])]


def _charge_group(group: list[UUID]) -> list[UUID]:
    while True:
        with transaction.atomic():
            held = _lock(group)
            if not _post(_run(CHARGE, held)):
                _run(LOCK_ALLOWANCES, held)  # fees and holds move those of several organizations: in one order
                _post(_run(FEES, held))
                return _settle(held)


def _lock(tasks: list[UUID]) -> list[UUID]:
    """Lock the tasks' rows until commit; those that somebody else is charging, or has settled, drop out.

    A statement of its own: the next one's snapshot must see what the last holder committed.
    """
    with connection.cursor() as cursor:  # a chunk is sorted in memory
        cursor.execute("SELECT set_config('work_mem', '64MB', true), pg_advisory_xact_lock_shared(%s)", [CHARGING_LOCK])
    return [task for (task,) in _run(LOCK, tasks)]


def _run(statement: str, tasks: list[UUID]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"tasks": tasks, "limit": settings.CHUNK})
        return list(cursor.fetchall())


def _post(rows: list[Any]) -> int:
    """Write the legs of what was just charged. Returns how many charges there were."""
    postings = [Posting(*row) for row in rows]
    post(postings)
    return sum(posting.charges for posting in postings)


def post(postings: Iterable[Posting]) -> None:
    """Write the legs of these sums, one per entry and account; amounts may be negative (corrections)."""
    legs: Counter[tuple[int, Side]] = Counter()  # debit is positive
    for posting in postings:
        if posting.entry is not None:
            for side, micros in _sides(posting):
                legs[posting.entry, side] += micros
    _insert_legs({leg: micros for leg, micros in legs.items() if micros})


def _sides(posting: Posting) -> list[tuple[Side, int]]:
    if posting.payer == "user":
        payer = Side(Account.Kind.USER_RECEIVABLE, posting.organization, posting.currency)
    else:
        payer = Side(Account.Kind.PLATFORM_COST, None, posting.currency)
    return [
        (payer, posting.amount),
        (Side(Account.Kind.PROVIDER_PAYABLE, posting.provider, posting.currency), -posting.provider_micros),
        (Side(Account.Kind.PUBLISHER_PAYABLE, posting.publisher, posting.currency), -posting.publisher_micros),
        (Side(Account.Kind.PLATFORM_REVENUE, None, posting.currency), -posting.platform_micros),
    ]


def _insert_legs(legs: dict[tuple[int, Side], int]) -> None:
    if not legs:
        return
    accounts = _accounts({side for _, side in legs})
    rows = [(entry, accounts[side], max(micros, 0), max(-micros, 0)) for (entry, side), micros in legs.items()]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_leg (entry_id, account_id, debit_micros, credit_micros) "
            "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])",
            [list(column) for column in zip(*rows, strict=True)],
        )


def _accounts(sides: set[Side]) -> dict[Side, int]:
    """Account ids, made on demand. Somebody else may make the same ones at the same moment."""
    found = _find_accounts(sides)
    if missing := sides - found.keys():
        Account.objects.bulk_create(
            [Account(kind=s.kind, organization_id=s.organization, currency=s.currency) for s in sorted(missing, key=str)],
            ignore_conflicts=True,
        )
        found |= _find_accounts(missing)
    return found


def _find_accounts(sides: set[Side]) -> dict[Side, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT account.kind, account.organization_id, account.currency, account.id FROM billing_account account "
            "JOIN unnest(%s::text[], %s::bigint[], %s::text[]) AS side (kind, organization_id, currency) "
            "ON side.kind = account.kind AND side.currency = account.currency "
            "AND side.organization_id IS NOT DISTINCT FROM account.organization_id",
            [list(column) for column in zip(*sides, strict=True)],
        )
        return {Side(kind, organization, currency): id_ for kind, organization, currency, id_ in cursor.fetchall()}


def _settle(tasks: list[UUID]) -> list[UUID]:
    settled = [task for (task,) in _run(SETTLE, tasks)]
    resolve_holds(settled)
    CostSoFar.objects.filter(task__in=settled).delete()
    publish_tasks((task, "task.settled", {}) for task in settled)
    return settled


def refresh_costs() -> int:
    """Push what open tasks cost so far down to them. Returns how many rows changed. One caller at a time."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SO_FAR_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        _count_so_far(cursor)
        cursor.execute(PUSH_SO_FAR)
        return int(cursor.rowcount)


def _count_so_far(cursor: Any) -> None:
    """Add usage that is not counted yet, at most WINDOW numbers of it, to what its tasks cost so far."""
    cursor.execute(OPEN)
    tasks, ids, first, own, currency = cursor.fetchone()
    if tasks is None:
        return
    fresh = {"tasks": tasks, "ids": ids, "first": first, "last": first + WINDOW - 1}
    cursor.execute(open_prices(own), fresh)
    [(text,)] = cursor.fetchall()
    prices = json.loads(text)
    meters = frozenset(meter for price in prices for meter in COUNTED if price[meter])
    alike = currency and not own and all(price["currency"] == currency for price in prices)
    cursor.execute(open_groups(meters) if alike else open_sums(own, meters), fresh | {"prices": text})
    if rows := cursor.fetchall():
        cursor.execute(COUNT_SO_FAR, [list(column) for column in zip(*rows, strict=True)])


def unsettled_tasks(after: UUID | None = None, limit: int = 1000) -> list[UUID]:
    """Ended tasks without their bill, in the order of their ids."""
    rows = Task.objects.filter(settled_at=None).exclude(state__in=["queued", "running"]).order_by("pk")
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return list(rows.values_list("pk", flat=True)[:limit])
