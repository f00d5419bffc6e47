"""The states of a dispute. Pure; a trigger (migrations/sql, dispute guards) keeps to the same moves.

open --> answered --> decided
  |  `-------|----------^
  `----------`-----> withdrawn

open       waits for the respondent until `answer_until`; then it is decided for the customer
answered   waits for an operator
decided    upheld, partly or rejected; what is taken back stands in rows of its own. Final
withdrawn  the customer gave it up; the charge may be disputed again while there is time
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOVES: Final[Mapping[str, frozenset[str]]] = {
    "open": frozenset({"answered", "decided", "withdrawn"}),
    "answered": frozenset({"decided", "withdrawn"}),
    "decided": frozenset(),
    "withdrawn": frozenset(),
}
LIVE: Final = ("open", "answered")


def may_move(before: str, after: str) -> bool:
    """Whether a dispute may go from one state to another. Staying is no move."""
    return after in MOVES[before]
