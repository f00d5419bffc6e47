"""The states of an export. Pure; a trigger (migrations/sql/) keeps to the same moves.

requested --> running --> ready --> expired
                 `-----> failed

requested  asked for; waits for a job, or is written at once where it is small
running    somebody writes it, under a lease; whose lease ran out is written again from its beginning, as another try
ready      the file is stored, with its digest and count of rows
failed     it cannot be written, or was given up after several tries; the reason says why
expired    the file is gone; asking again makes another export
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MOVES: Final[Mapping[str, frozenset[str]]] = {
    "requested": frozenset({"running"}),
    "running": frozenset({"ready", "failed"}),
    "ready": frozenset({"expired"}),
    "failed": frozenset(),
    "expired": frozenset(),
}
OPEN: Final = ("requested", "running")


def may_move(before: str, after: str) -> bool:
    """Whether an export may go from one state to another. Staying is no move."""
    return after in MOVES[before]
