"""Small helpers around a cursor: rows as tuples or dictionaries, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import connection

from marketplace.stages import VALIDATES

# The part of a task's plan (t.plan) that a unit (u) belongs to, as marketplace/stages.py has it.
PART: Final = f"""(CASE WHEN u.stage = 0 THEN t.plan WHEN u.stage >= {VALIDATES} THEN t.plan->'validate_stage'
                  WHEN t.plan->'stages' IS NULL THEN t.plan->'merge_stage' ELSE t.plan->'stages'->(u.stage - 1) END)"""


def rows(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def dicts(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
    """Run a statement and return its rows by column name."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def scalar(sql: str, params: Sequence[Any] | dict[str, Any] = ()) -> Any:
    """Run a statement and return the first column of its first row, or None."""
    found = rows(sql, params)
    return found[0][0] if found else None
