"""The states of a payout. Pure; a trigger (migrations/sql/0018_payout_guards.sql) keeps to the same moves.

draft --> approved --> sent --> paid
  |        |    ^        `----> failed
  |        |    `---------------'  |     (retry: a new attempt, under a new key)
  `--------+-----> cancelled <-----'     (its lines wait for the next run)

draft      gathered; waits for an operator
approved   an operator said yes; the next sending takes it
sent       an order is with the gateway; repeated under the same key until the gateway says how it ended
paid       the money is out, and posted
failed     the gateway refused for good; nothing was moved
cancelled  given up before any money moved
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOVES: Final[Mapping[str, frozenset[str]]] = {
    "draft": frozenset({"approved", "cancelled"}),
    "approved": frozenset({"sent", "cancelled"}),
    "sent": frozenset({"paid", "failed"}),
    "failed": frozenset({"approved", "cancelled"}),
    "paid": frozenset(),
    "cancelled": frozenset(),
}


def may_move(before: str, after: str) -> bool:
    """Whether a payout may go from one state to another. Staying is no move."""
    return after in MOVES[before]


def sources(after: str) -> list[str]:
    """The states from which a payout may come to this one, sorted.

    >>> sources("cancelled")
    ['approved', 'draft', 'failed']
    """
    return sorted(before for before, moves in MOVES.items() if after in moves)
