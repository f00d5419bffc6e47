"""Cutoffs: moments before which nothing can arrive any more.

A fact carries the moment at which it was accepted, and becomes visible when its transaction commits, which is later. A run that
took the clock for its cutoff could so miss a fact today and see it tomorrow. Whoever accepts facts therefore holds a lock,
shared, from before the moment is taken until the commit; whoever takes a cutoff waits for all of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, cast

from django.db import connection
from django.db.backends.utils import CursorWrapper

LOCK: Final = 0x63757466  # "cutf"


def no_cutoff_meanwhile(cursor: CursorWrapper) -> None:
    """Hold cutoffs back until this transaction has ended. Moments of facts are to be taken in later statements."""
    cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])


def accepted_now() -> datetime:
    """When facts are accepted that this transaction writes: PostgreSQL's clock, behind the lock."""
    with connection.cursor() as cursor:
        no_cutoff_meanwhile(cursor)
        cursor.execute("SELECT clock_timestamp()")
        return cast("datetime", cursor.fetchone()[0])


def safe_cutoff() -> datetime:
    """A moment such that all facts that were accepted before it are committed: a run with it sees the same, always.

    Waits for those who are accepting just now, which takes as long as one batch.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        try:
            cursor.execute("SELECT clock_timestamp()")
            return cast("datetime", cursor.fetchone()[0])
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
