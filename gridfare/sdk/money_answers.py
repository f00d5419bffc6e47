"""Shapes of the platform's answers about money: statements, credit, wallet, budgets, the ledger's seals.

Amounts are decimal text, times are RFC 3339 in UTC; members which a newer platform adds stay.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Statement(TypedDict):
    party: str
    organization: str
    currency: str
    total: str
    lines: list[dict[str, Any]]


Export = TypedDict(
    "Export",
    {  # `from` is no name for an attribute
        "id": str,
        "organization": str | None,
        "kind": str,
        "schema": str,
        "format": str,
        "party": str,
        "from": str,
        "to": str,
        "currency": str,
        "group": str,
        "site": str,
        "ascii": bool,
        "state": str,
        "rows": int,
        "estimated": int | None,
        "bytes": int | None,
        "sha256": str,
        "reason": str,
        "requested_at": str,
        "started_at": str | None,
        "ended_at": str | None,
        "expires_at": str | None,
    },
)


class Allowance(TypedDict):
    currency: str
    limit: str
    prepaid: str
    unpaid: str
    held: str
    available: str


class Block(TypedDict):
    reason: str
    detail: str
    blocked_at: str


class Credit(TypedDict):
    organization: str
    allowances: list[Allowance]
    blocks: list[Block]


class Grant(TypedDict):
    number: int
    reference: str
    currency: str
    amount: str
    left: str
    expires_at: str
    reason: str
    granted_at: str


class Movement(TypedDict):
    number: int
    at: str
    kind: str
    source: str
    currency: str
    amount: str
    entry: str


class TopUp(TypedDict):
    number: int
    reference: str
    currency: str
    amount: str
    recorded_at: str


class Threshold(TypedDict):
    percent: int
    action: str


class Budget(TypedDict):
    number: int
    name: str
    scope: str
    subject: str
    currency: str
    period: str
    period_start: str
    amount: str
    spent: str
    held: str
    thresholds: list[Threshold]
    created_at: str
    closed_at: str | None


class BudgetAlert(TypedDict):
    budget: int
    period_start: str
    percent: int
    action: str
    amount: str
    spent: str
    held: str
    raised_at: str


class Hold(TypedDict):
    task: str
    currency: str
    amount: str
    captured: str
    state: str
    by: str
    held_at: str
    resolved_at: str | None


class LedgerSeal(TypedDict):
    number: int
    first: int
    last: int
    entries: int
    legs: int
    balances: int
    previous: str
    root: str
    hash: str
    sealed_at: str
