"""Steps 8 and 9 of the river alone: measure and charge N ended attempts, beside a plain copy of the same rows.

    python -m bench charge [N ...]          default 20000 200000

A scratch database is made and dropped again. The reference is INSERT ... SELECT of the finished rows, in the same
chunks, into a table with the same indexes and checks: what PostgreSQL takes to store them when there is nothing to
compute and nobody to ask.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


def main(sizes: list[int]) -> None:
    import django

    django.setup()
    with scratch_database():
        figures = [figures_of(size) for size in sizes or [20_000, 200_000]]
    report(figures)


@contextmanager
def scratch_database() -> Iterator[None]:
    from django.db import connection

    old = connection.settings_dict["NAME"]
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(old, verbosity=0)


def figures_of(size: int) -> dict[str, Any]:
    """Microseconds per record of each step, for one task of `size` units."""
    from billing.services import charge_task
    from marketplace.models import Task
    from metering.services import measure
    from tests.builders_billing import make_many_attempts, make_market, make_need, make_task

    market = make_market()
    task = make_task(market, units=size)
    make_many_attempts(market, task, make_need(), size)
    run("ANALYZE")
    figures: dict[str, Any] = {"records": size}
    figures["measure"] = timed(size, lambda: drain(measure))
    figures["charge"] = timed(size, lambda: charge_task(task.pk))
    assert Task.objects.get(pk=task.pk).cost_final
    figures["plain usage records"] = copied("metering_usagerecord", task, size)
    figures["plain charges"] = copied("billing_charge", task, size)
    return figures


def drain(measure: Callable[[], Any]) -> None:
    while measure().taken:
        pass


def timed(size: int, step: Callable[[], object]) -> dict[str, float]:
    """Microseconds per record: by the wall's clock, and of PostgreSQL's own processor time (neighbours do not count)."""
    began, busy = time.perf_counter(), processor_seconds()
    step()
    wall, cpu = time.perf_counter() - began, processor_seconds() - busy
    return {"wall": wall / size * 1e6, "cpu": cpu / size * 1e6}


def processor_seconds() -> float:
    """What this connection's PostgreSQL process has used so far."""
    import psutil
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        used = psutil.Process(cursor.fetchone()[0]).cpu_times()
    return float(used.user + used.system)


def run(statement: str, *arguments: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, arguments or None)


def copied(table: str, task: Any, size: int) -> dict[str, float]:
    """The reference: the same rows, in chunks, into a table of the same shape."""
    from django.conf import settings

    run(f"CREATE TABLE plain (LIKE {table} INCLUDING ALL EXCLUDING IDENTITY)")

    def copy() -> None:
        for offset in range(0, size, settings.CHUNK):
            run(
                f"INSERT INTO plain SELECT * FROM {table} WHERE task_id = %s ORDER BY id OFFSET %s LIMIT %s",
                task.pk, offset, settings.CHUNK,
            )  # fmt: skip

    micros = timed(size, copy)
    run("DROP TABLE plain")
    return micros


def report(figures: list[dict[str, Any]]) -> None:
    from django.conf import settings

    for one in figures:
        print(f"\n{one['records']:,} records; microseconds and records/s, wall (processor)")
        for step, plain in (("measure", "plain usage records"), ("charge", "plain charges")):
            ratio = one[step]["cpu"] / one[plain]["cpu"]
            print(f"  {step:8} {shown(one[step])}   plain copy {shown(one[plain])}   ratio of processor time {ratio:.1f}")
    folder = settings.DATA_DIR / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "charge.json").write_text(json.dumps(figures, indent=1))


def shown(micros: dict[str, float]) -> str:
    wall, cpu = micros["wall"], micros["cpu"]
    return f"{wall:6.1f} us ({cpu:5.1f})  {1e6 / wall:7,.0f}/s ({1e6 / cpu:7,.0f}/s)"


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
