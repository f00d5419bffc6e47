"""State machines as data, taken by one guarded UPDATE on a set of rows.

A machine is a mapping `state -> states it may become`. `sources_of` inverts it, so that every
UPDATE names the states it may leave, and a row that has already left is simply not touched.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from django.db import models

Moves = Mapping[str, Collection[str]]
M = TypeVar("M", bound=models.Model)


def sources_of(moves: Moves, to: str) -> list[str]:
    """The states that may become `to`, in the machine's order."""
    return [source for source, targets in moves.items() if to in targets]


def terminal_states(moves: Moves) -> list[str]:
    """The states nothing leaves."""
    return [state for state, targets in moves.items() if not targets]


def move(rows: models.QuerySet[M], ids: Iterable[Any], moves: Moves, to: str, **fields: Any) -> int:
    """Move rows to `to`, those still in a state that allows it. Returns how many moved."""
    guarded = rows.filter(pk__in=list(ids), state__in=sources_of(moves, to))
    return guarded.update(state=to, **fields)
