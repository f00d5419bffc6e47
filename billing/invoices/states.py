"""The states of an invoice. Pure; a trigger (migrations/sql/0028_reversals.sql) keeps to the same moves.

gathering --> draft --> grace --> finalized --> paid
                                    |  |  `---> overdue --> paid
                                    |  |            |-----> uncollectible
                                    |  `--> void <--'
                                    (of a void invoice nothing stands paid, not even in part; another takes its place, in grace)
paid --> overdue | finalized        what had paid it was reversed: it is owed again, overdue if `due_at` is past

gathering      its month runs: what it will hold is only known when it is asked
draft          the month is over, its lines are being drawn
grace          its lines stand; usage of the month that comes late still joins them
finalized      numbered, posted, frozen; to be paid until `due_at`
overdue        not paid in time; notices go out
paid           payments and credit notes come to its total
void           taken back before anything was paid
uncollectible  given up: what was not paid is the platform's loss
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOVES: Final[Mapping[str, frozenset[str]]] = {
    "gathering": frozenset({"draft"}),
    "draft": frozenset({"grace"}),
    "grace": frozenset({"finalized"}),
    "finalized": frozenset({"paid", "overdue", "void"}),
    "overdue": frozenset({"paid", "void", "uncollectible"}),
    "paid": frozenset({"finalized", "overdue"}),  # only together with a PaymentReversal
    "void": frozenset(),
    "uncollectible": frozenset(),
}
OPEN: Final = frozenset({"gathering", "draft", "grace"})  # not final: lines may still change
OWED: Final = frozenset({"finalized", "overdue"})


def may_move(before: str, after: str) -> bool:
    """Whether an invoice may go from one state to another. Staying is no move."""
    return after in MOVES[before]
