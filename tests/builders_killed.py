"""Processes that are killed before a statement, and what they leave in the tables of money."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import connection

Victim = subprocess.Popen[str]
Rows = Counter[str]

ROOT: Final = Path(__file__).parents[1]
MONEY: Final = "^(billing_|metering_usage|marketplace_(hold|allowance|spendblock|budget|event)|(scheduler_ended|marketplace_task)$)"
# What differs from one run to the next, or names a row: ids, keys, times, numbers from a series.
NAMES: Final = re.compile(
    r"(^|_)(id|xid|txid|key|digest|number|sequence|hash|root|salt|memo|reference|share|last|code|name|bill_to|evidence|data|body|payee)$"
)
TYPES: Final = ("uuid", "xid8", "timestamp with time zone", "tstzrange", "bytea", "date")


@contextmanager
def a_victim() -> Iterator[Victim]:
    """A warm process that forks a child for each line it is given; see `tests/billing/killed_run.py`."""
    told = connection.settings_dict
    url = f"postgresql://{told['USER']}:{told['PASSWORD']}@{told['HOST'].replace('/', '%2F')}:{told['PORT']}/{told['NAME']}"
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests/billing/killed_run.py")]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, cwd=ROOT, env=environment) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ends(victim: Victim, work: str, given: dict[str, Any], statement: int) -> int:
    """How a work ends that is killed before a statement: -9, or 0 if it sent fewer."""
    assert victim.stdin is not None
    assert victim.stdout is not None
    before = _other_sessions()
    victim.stdin.write(json.dumps({"work": work, "given": given, "statement": statement}) + "\n")
    victim.stdin.flush()
    ended = int(victim.stdout.readline())
    _wait_for_the_server(before)
    return ended


def _other_sessions() -> set[int]:
    """Sessions of this database but our own; other tests' servers may have left some."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        return {pid for (pid,) in cursor.fetchall()}


def _wait_for_the_server(before: set[int]) -> None:
    """PostgreSQL notices a moment later that the process is gone; until then its session holds the account's lock."""
    until = time.monotonic() + 20
    while _other_sessions() - before and time.monotonic() < until:
        time.sleep(0.005)


def money_columns() -> dict[str, list[str]]:
    """The tables of money, each with the columns that say something whoever wrote them and whenever."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables USING (table_name) "
            "WHERE tables.table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name ~ %s AND data_type <> ALL(%s) "
            "ORDER BY 1, ordinal_position",
            [MONEY, list(TYPES)],
        )
        found: dict[str, list[str]] = {}
        for table, column in cursor.fetchall():
            if not NAMES.search(column):
                found.setdefault(table, []).append(column)
    return found


def money_rows(columns: dict[str, list[str]]) -> Rows:
    """Every row of money as text, without what names it; legs and balances with their account's kind."""
    kind = "(SELECT kind || currency FROM billing_account account WHERE account.id = account_id)"
    looks = []
    for table, names in columns.items():
        more = [kind] if table in {"billing_leg", "billing_accountbalance"} else []
        told = ", ".join([*(f'"{name}"' for name in names), *more])
        looks.append(f"(SELECT concat('{table}: ', concat_ws('|', {told})), count(*) FROM {table} GROUP BY 1)")
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(looks))
        return Counter(dict(cursor.fetchall()))


def changed(before: Rows, after: Rows) -> dict[str, int]:
    """What came (+) and what went (-)."""
    return {row: after[row] - before[row] for row in sorted(before | after) if after[row] != before[row]}
