"""What billing can be asked: a party's statement, a task's charges, the ledger's balance.

A statement starts at the ledger: the party's account, its entries in the period, their tasks, and only then the
charges. What is printed is therefore what was posted, and its cost grows with the party's own business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from billing.models import Charge
from core.money import text_of
from marketplace.models import Organization, Task
from metering.periods import zone_of

TASKS_PER_PAGE: Final = 500
FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Party:
    """How a party's money is found: its account, its column, and its share of a charge."""

    account: str
    column: str
    share: str


PARTIES: Final = {
    "user": Party("user_receivable", "organization_id", "CASE charge.payer WHEN 'user' THEN charge.amount_micros ELSE 0 END"),
    "provider": Party("provider_payable", "provider_id", "charge.provider_micros"),
    "publisher": Party("publisher_payable", "publisher_id", "charge.publisher_micros"),
}

# group -> what a line is grouped by, in the order in which it is printed
GROUPS: Final = {
    "task": ("task", "capability", "kind", "pool"),
    "capability": ("capability", "kind"),
    "pool": ("pool", "kind"),
    "day": ("day", "kind"),
    "month": ("month", "organization", "pool"),  # 标准算力 beside money
}
KEYS: Final = {
    "task": "charge.task_id::text",
    "capability": "publisher.slug || '/' || capability.name || '@' || version.version",
    "kind": "charge.kind",
    "pool": "pool.identifier",
    "day": "to_char(charge.charged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "month": "to_char(charge.charged_at AT TIME ZONE %(zone)s, 'YYYY-MM')",
    "organization": "customer.slug",
}
# A record that was corrected or disputed counts as it was charged first; what that changes in money has a line of its own.
_ONCE: Final = "charge.kind NOT IN ('delta', 'refund', 'sla')"


def _sum(quantity: str, size: str) -> str:
    return f"trim_scale(coalesce(sum({quantity}) FILTER (WHERE {_ONCE}), 0) * {size})::text"


QUANTITIES: Final = {
    "units": f"count(*) FILTER (WHERE usage.outcome = 'valid' AND usage.stage = 0 AND {_ONCE})",
    "attempts": f"count(usage.id) FILTER (WHERE {_ONCE})",
    "core_seconds": _sum("usage.core_ms", "0.001"),
    "held_core_seconds": _sum("usage.held_core_ms", "0.001"),
    "accelerator_seconds": _sum("usage.accelerator_ms", "0.001"),
    "fp32_tflop": _sum("usage.fp32_gflop", "0.001"),
    "fp32_tflops_hours": f"trim_scale(round(coalesce(sum(usage.fp32_gflop) FILTER (WHERE {_ONCE}), 0) / 3600000, 12))::text",
    "gb_moved": _sum("usage.bytes_in::numeric + usage.bytes_out", "0.000000001"),
}
COLUMNS: Final = ("task", "capability", "pool", "day", "month", "organization", "kind", *QUANTITIES, "amount", "share")

_POSTED: Final = """
  SELECT DISTINCT entry.task_id
    FROM billing_account account
    JOIN billing_leg leg ON leg.account_id = account.id
    JOIN billing_journalentry entry ON entry.id = leg.entry_id
   WHERE account.kind = %(account)s AND account.organization_id = %(organization)s
     AND account.currency = %(currency)s AND entry.posted_at >= %(start)s AND entry.posted_at < %(end)s
     AND entry.task_id > %(after)s
   ORDER BY entry.task_id LIMIT %(limit)s
"""
_TOTAL: Final = """
SELECT coalesce(sum(leg.debit_micros - leg.credit_micros), 0)::bigint
  FROM billing_account account
  JOIN billing_leg leg ON leg.account_id = account.id
  JOIN billing_journalentry entry ON entry.id = leg.entry_id
 WHERE account.kind = %(account)s AND account.organization_id = %(organization)s
   AND account.currency = %(currency)s AND entry.posted_at >= %(start)s AND entry.posted_at < %(end)s
   AND entry.kind = ANY(%(kinds)s)
"""
# Entries that charges made: what was paid, paid out, taxed or rounded stands on the same accounts, and in no statement.
CHARGING: Final = ("usage", "fee", "delta", "refund", "sla", "period")


@dataclass(frozen=True, slots=True)
class Statement:
    """Which statement: a party's view of its organization, over [start, end), in one currency."""

    party: str
    organization: Organization
    currency: str
    start: datetime
    end: datetime
    group: str = "task"

    def arguments(self, **more: Any) -> dict[str, Any]:
        account = PARTIES[self.party].account
        period = {"start": self.start, "end": self.end, "currency": self.currency, "zone": zone_of(self.organization).key}
        return {"account": account, "organization": self.organization.pk} | period | more


def total_of(statement: Statement) -> int:
    """What the party was charged (user) or earned in the period, in micros, as the ledger has it: the sum of the lines.

    What was paid of it, or paid out, changes nothing here; that is for invoices, payouts and `credit`.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TOTAL, statement.arguments(kinds=list(CHARGING)))
        micros: int = cursor.fetchone()[0]
    return micros if statement.party == "user" else -micros


PERIOD_KEYS: Final = {
    "task": "NULL::text",
    "capability": "publisher.slug || '/' || capability.name || '@' || version.version",
    "kind": "'period'",
    "pool": "pool.identifier",
    "day": "to_char(charge.rated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "month": "to_char(charge.rated_at AT TIME ZONE %(zone)s, 'YYYY-MM')",
    "organization": "customer.slug",
}


def lines_of(statement: Statement, after: UUID = FIRST) -> tuple[list[dict[str, Any]], UUID | None]:
    """A page of lines, and the task to go on after, or None.

    Lines grouped by task come TASKS_PER_PAGE tasks at a time; every other group is one page, because its lines are
    as few as the party's pools, capabilities or days. What is charged by period has no task and stands on the first page.
    """
    lines, following = _task_lines(statement, after)
    return lines + (_period_lines(statement) if after == FIRST else []), following


def _period_lines(statement: Statement) -> list[dict[str, Any]]:
    keys = GROUPS[statement.group]
    share = PARTIES[statement.party].share
    numbers = ", ".join(str(number + 1) for number in range(len(keys)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT {", ".join(PERIOD_KEYS[key] for key in keys)}, sum(charge.amount_micros)::bigint, sum({share})::bigint
  FROM billing_periodcharge charge
  LEFT JOIN marketplace_offer offer ON offer.id = charge.offer_id LEFT JOIN marketplace_pool pool ON pool.id = offer.pool_id
  LEFT JOIN marketplace_capabilityversion version ON version.id = charge.version_id
  LEFT JOIN marketplace_capability capability ON capability.id = version.capability_id
  LEFT JOIN marketplace_organization publisher ON publisher.id = charge.publisher_id
  JOIN marketplace_organization customer ON customer.id = charge.organization_id
 WHERE charge.{PARTIES[statement.party].column} = %(organization)s AND charge.currency = %(currency)s
   AND charge.rated_at >= %(start)s AND charge.rated_at < %(end)s AND {share} <> 0
 GROUP BY {numbers} ORDER BY {numbers}""",
            statement.arguments(),
        )
        rows = cursor.fetchall()
    nothing = {name: 0 if name in {"units", "attempts"} else "0" for name in QUANTITIES}
    return [priced_line(dict(zip((*keys, "amount", "share"), row, strict=True)) | nothing) for row in rows]


def _task_lines(statement: Statement, after: UUID) -> tuple[list[dict[str, Any]], UUID | None]:
    pages = statement.group == "task"
    keys = GROUPS[statement.group]
    limit = TASKS_PER_PAGE if pages else None
    with connection.cursor() as cursor:
        cursor.execute(_lines(statement), statement.arguments(after=after, limit=limit))
        *_, last, full = rows[-1] if (rows := cursor.fetchall()) else (None, False)
    names = (*keys, *QUANTITIES, "amount", "share")
    lines = [priced_line(dict(zip(names, row, strict=False))) for row in rows]
    return lines, last if pages and full else None


def _lines(statement: Statement) -> str:
    party = PARTIES[statement.party]
    keys = [KEYS[key] for key in GROUPS[statement.group]]
    numbers = ", ".join(str(number + 1) for number in range(len(keys)))
    return f"""
WITH posted AS MATERIALIZED ({_POSTED})
SELECT {", ".join(keys)}, {", ".join(QUANTITIES.values())},
       sum(charge.amount_micros)::bigint, sum({party.share})::bigint,
       (SELECT max(task_id::text)::uuid FROM posted), (SELECT count(*) FROM posted) = %(limit)s
  FROM posted
  JOIN billing_charge charge ON charge.task_id = posted.task_id
  JOIN marketplace_task task ON task.id = charge.task_id
  JOIN marketplace_capabilityversion version ON version.id = task.capability_version_id
  JOIN marketplace_capability capability ON capability.id = version.capability_id
  JOIN marketplace_organization publisher ON publisher.id = capability.organization_id
  JOIN marketplace_organization customer ON customer.id = task.organization_id
  LEFT JOIN metering_usagerecord usage ON usage.id = charge.usage_id
  LEFT JOIN marketplace_pool pool ON pool.id = usage.pool_id
 WHERE charge.{party.column} = %(organization)s AND charge.currency = %(currency)s
   AND charge.charged_at >= %(start)s AND charge.charged_at < %(end)s AND {party.share} <> 0
 GROUP BY {numbers}
 ORDER BY {numbers}
"""


def priced_line(line: dict[str, Any]) -> dict[str, Any]:
    """The line with its micros as decimal text."""
    return line | {"amount": text_of(line["amount"]), "share": text_of(line["share"])}


def all_lines(statement: Statement) -> Iterator[list[dict[str, Any]]]:
    """Every line, page by page; each page is a query of its own, so a long export holds nothing open."""
    after: UUID | None = FIRST
    while after is not None:
        lines, after = lines_of(statement, after)
        yield lines


def flow_of(statement: Statement) -> Iterator[dict[str, Any]]:
    """Every line, through a cursor of the server: one snapshot of the tasks' lines, a portion in memory."""
    names = (*GROUPS[statement.group], *QUANTITIES, "amount", "share")
    with closing(connection.chunked_cursor()) as cursor:
        cursor.execute(_lines(statement), statement.arguments(after=FIRST, limit=None))
        while portion := cursor.fetchmany(TASKS_PER_PAGE):
            yield from (priced_line(dict(zip(names, row, strict=False))) for row in portion)
    yield from _period_lines(statement)


def count_tasks(statement: Statement, most: int) -> int:
    """How many tasks a statement is of; `most` + 1 when there are more."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({_POSTED}) posted", statement.arguments(after=FIRST, limit=most + 1))
        return int(cursor.fetchone()[0])


def charges_of(task: Task) -> QuerySet[Charge]:
    """A task's charges with what their documents need."""
    return Charge.objects.filter(task=task).select_related("usage__pool", "entry", "provider", "publisher")


def trial_balance() -> list[dict[str, Any]]:
    """Every account with its sums in micros: `{kind, organization, currency, debit, credit}`, exact integers."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT account.kind, organization.slug, account.currency, coalesce(sums.debit, 0), "
            "coalesce(sums.credit, 0) FROM billing_account account "
            "LEFT JOIN (SELECT account_id, sum(debit_micros)::numeric AS debit, sum(credit_micros)::numeric AS credit "
            "FROM billing_leg GROUP BY account_id) sums ON sums.account_id = account.id "
            "LEFT JOIN marketplace_organization organization ON organization.id = account.organization_id "
            "ORDER BY account.currency, account.kind, organization.slug"
        )
        rows = cursor.fetchall()
    names = ("kind", "organization", "currency", "debit", "credit")
    return [dict(zip(names, (*row[:3], int(row[3]), int(row[4])), strict=True)) for row in rows]


def is_balanced(accounts: list[dict[str, Any]]) -> bool:
    """Whether debits equal credits in every currency."""
    sums: dict[str, int] = {}
    for account in accounts:
        sums[account["currency"]] = sums.get(account["currency"], 0) + account["debit"] - account["credit"]
    return not any(sums.values())


