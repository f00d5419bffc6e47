"""How random histories are tried: each is taken back, and none is shrunk, which takes longer than reading one.

HISTORIES_SHRINK=1 looks for the smallest history that fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import HealthCheck, Phase, given, settings

PHASES = tuple(Phase) if os.environ.get("HISTORIES_SHRINK") else (Phase.explicit, Phase.reuse, Phase.generate)


def checked(examples: int, **given_by: Any) -> Callable[[Callable[..., None]], None]:
    """Run a body on random values, each time in a transaction that is taken back."""

    def run(body: Callable[..., None]) -> None:
        def one(**values: Any) -> None:
            with transaction.atomic():
                execute("SET CONSTRAINTS ALL DEFERRED")  # else a savepoint inside could leave them otherwise for the next
                body(**values)
                transaction.set_rollback(True)

        limits: Any = settings(
            max_examples=examples, deadline=None, database=None, phases=PHASES, suppress_health_check=list(HealthCheck)
        )
        limits(given(**given_by)(one))()

    return run


def execute(statement: str, *values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


def commits() -> bool:
    """Whether the transaction could be committed as it stands."""
    try:
        with transaction.atomic():
            execute("SET CONSTRAINTS ALL IMMEDIATE")
    except IntegrityError:
        return False
    execute("SET CONSTRAINTS ALL DEFERRED")
    return True


def refused(work: Callable[[], Any]) -> bool:
    """Whether PostgreSQL refuses this, now or at the commit; what it refuses is taken back, what it takes stays."""
    try:
        with transaction.atomic():
            work()
            execute("SET CONSTRAINTS ALL IMMEDIATE")
    except DatabaseError:
        return True
    finally:
        execute("SET CONSTRAINTS ALL DEFERRED")
    return False
