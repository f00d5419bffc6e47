"""S6: rating usage records, beside CloudKitty's hashmap in process on the same points.

    python -m bench s6 [RECORDS ...]        default 1000000

Twenty pools with a price each; a record is a quantity of core seconds at one of them. Two production paths rate them:

    rated    `billing.services.refresh_costs`, as a running task's cost is told: every record is looked up, judged by the reason
             table and priced, and the sum is kept. Nothing but rating, so this one stands beside CloudKitty and its bar.
    charged  `billing.services.charge_task`, as the ended task is charged: the same, and a price cap, the parties' shares, the
             lines as evidence and a row per record with its indexes and checks, and the journal. CloudKitty's processor has
             none of it and writes nothing.

The bar is held against the processor time of one process, as CloudKitty is one and has no way to share a frame. PostgreSQL may
share `rated` among its workers, as it does by default: that is timed apart, by the wall's clock, and has no bar.

CloudKitty's `HashMap.process` gets DataFrames that are in memory already, and has its rules in memory. It looks up the field
mapping of each point's pool and multiplies, and leaves a new point with its price. The price of every point must be equal to
the amount charged for the record to the last digit, and the sum to the cost that was told, or the bench fails.

CloudKitty is installed once, below the data folder's `bench`; where it cannot be, ours is timed alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from bench.charge import processor_seconds, run, scratch_database
from bench.figures import save, say

PACKAGE: Final = "cloudkitty==25.0.0"
BAR: Final = 8.0
POOLS: Final = 20
Seconds = dict[str, float]  # wall; cpu, of all processes that took part

# Numbers without a pattern, of milliseconds up to an hour.
_USAGE: Final = """
INSERT INTO metering_usagerecord ({columns}, task_id, attempt_id, pool_id, offer_id, core_ms)
SELECT {columns}, %s, -n, (%s::bigint[])[1 + n %% %s], (%s::bigint[])[1 + n %% %s], 1 + n * 7919 %% 3600000
  FROM metering_usagerecord, generate_series(1, %s::bigint) n WHERE attempt_id > 0
"""
_POINTS: Final = """
SELECT pool_id, core_ms * 0.001 FROM metering_usagerecord WHERE attempt_id < 0 ORDER BY id
"""
_AMOUNTS: Final = "SELECT amount_micros FROM billing_charge WHERE kind = 'usage' ORDER BY usage_id"


def main(sizes: list[int]) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    python = installed()
    figures = []
    for size in sizes or [1_000_000]:
        with scratch_database(), tempfile.TemporaryDirectory(prefix="gridfare-s6-") as folder:
            figures.append(figures_of(size, Path(folder), python))
    save("s6", figures)


def installed() -> Path | None:
    """A Python that has CloudKitty: made once, kept for the next run."""
    from django.conf import settings

    folder = settings.DATA_DIR / "bench" / PACKAGE.replace("==", "-")
    done = folder / "done"
    python: Path = folder / "bin" / "python"
    if done.exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = subprocess.run([python, "-m", "pip", "install", "-q", PACKAGE], capture_output=True, text=True, check=False)
    if pip.returncode:
        last = (pip.stderr.strip() or "no reason given").splitlines()[-1]
        say(f"{PACKAGE} cannot be installed here ({last}): ours is timed alone and nothing is compared")
        return None
    done.touch()
    return python


def figures_of(size: int, folder: Path, python: Path | None) -> dict[str, Any]:
    from billing.services import charge_task, refresh_costs

    task, prices = records(size)
    rated = timed(lambda: drain(refresh_costs))
    told = rows("SELECT micros FROM billing_costsofar")[0][0]
    again(task)
    rated["shared"] = timed(lambda: drain(refresh_costs))["wall"]
    if told != rows("SELECT micros FROM billing_costsofar")[0][0]:
        raise SystemExit("shared among workers the cost is another")
    end(task)
    charged = timed(lambda: charge_task(task.pk))
    amounts = [micros for (micros,) in rows(_AMOUNTS)]
    if len(amounts) != size or sum(amounts) != told:
        raise SystemExit(f"{len(amounts)} of {size} records were charged, {sum(amounts)} micros; {told} were told")
    theirs = reference(folder, python, prices, amounts) if python else None
    report(size, rated, charged, theirs)
    return {"records": size, "rated": rated, "charged": charged, "cloudkitty": theirs}


def records(size: int) -> tuple[Any, dict[int, str]]:
    """A running task with usage records at twenty pools, and the price of each pool."""
    from tests.builders_billing import make_attempt, make_market, make_need, make_offer, make_pool, make_task, make_usage

    market = make_market(rates={"core_second": "1"})
    task = make_task(market, units=size, state="running", terms={"fee_per_unit": "0"})
    other = make_task(market)
    make_usage(market, other, make_attempt(market, other, make_need()))
    pools = [make_pool(market.bob) for _ in range(POOLS)]
    prices = {pool.pk: f"0.{17 + 13 * number:03}" for number, pool in enumerate(pools)}
    offers = [make_offer(pool, rates={"core_second": prices[pool.pk]}) for pool in pools]
    found = rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'metering_usagerecord'")
    own = {"id", "task_id", "attempt_id", "pool_id", "offer_id", "core_ms"}
    columns = ", ".join(name for (name,) in found if name not in own)
    run("SET max_parallel_workers_per_gather = 0")  # one process, so that its processor time is all
    run("SET session_replication_role = replica")  # the attempts that these hang on are not there
    keys = [pool.pk for pool in pools], POOLS, [offer.pk for offer in offers], POOLS
    run(_USAGE.format(columns=columns), task.pk, *keys, size)
    run("SET session_replication_role = origin")
    run("VACUUM ANALYZE metering_usagerecord")
    run("ANALYZE")
    return task, prices


def again(task: Any) -> None:
    """Nothing is counted, and PostgreSQL may share a statement among its workers, as it does by default."""
    run("DELETE FROM billing_costsofar")
    run("UPDATE marketplace_task SET cost_micros = 0 WHERE id = %s", task.pk)
    run("RESET max_parallel_workers_per_gather")


def drain(refresh: Callable[[], int]) -> None:
    """Until a round changes no task's cost."""
    while refresh():
        pass


def end(task: Any) -> None:
    """The task is delivered, without the scheduler."""
    run("SET session_replication_role = replica")
    run("UPDATE marketplace_task SET state = 'delivered', units_done = units_total, ended_at = now() WHERE id = %s", task.pk)
    run("SET session_replication_role = origin")


def timed(step: Callable[[], object]) -> Seconds:
    """Wall seconds, and processor seconds of this process and of its PostgreSQL."""
    began, busy = time.perf_counter(), processor_seconds() + time.process_time()
    step()
    wall = time.perf_counter() - began
    return {"wall": wall, "cpu": processor_seconds() + time.process_time() - busy}


def reference(folder: Path, python: Path, prices: dict[int, str], amounts: list[int]) -> Seconds:
    """CloudKitty's seconds. Exits if one of its prices is not the amount."""
    points, rules, out, seconds = (folder / name for name in ("points", "prices.json", "out", "seconds.json"))
    with points.open("w") as file:
        file.writelines(f"{pool} {quantity}\n" for pool, quantity in rows(_POINTS))
    rules.write_text(json.dumps(prices))
    subprocess.run([python, "-W", "ignore", Path(__file__).with_name("s6_reference.py"), points, rules, out, seconds], check=True)
    with out.open() as file:
        theirs = [Decimal(line) * 1_000_000 for line in file]
    differ = sum(1 for mine, price in zip(amounts, theirs, strict=True) if mine != price)
    if differ:
        raise SystemExit(f"{differ} of {len(amounts)} prices differ from CloudKitty's")
    return dict(json.loads(seconds.read_text()))


def report(size: int, rated: Seconds, charged: Seconds, theirs: Seconds | None) -> None:
    say(f"{size:,} usage records, {POOLS} prices; a second, by the wall's clock (of processor time)")
    for name, seconds in (("rated", rated), ("charged", charged), ("CloudKitty", theirs)):
        if seconds:
            micros = seconds["cpu"] / size * 1e6
            text = f"{size / seconds['wall']:>9,.0f}/s ({size / seconds['cpu']:>9,.0f}/s, {micros:5.2f} us each)"
            say(f"  {name:10} {text}{against(seconds, theirs, BAR if name == 'rated' else None)}")
    shared = rated["shared"]
    times = f"   {theirs['wall'] / shared:.2f} x" if theirs else ""
    say(f"  rated, shared among workers {size / shared:>9,.0f}/s{times}")
    say("  every amount and the sum equal" if theirs else "  not compared")


def against(seconds: Seconds, theirs: Seconds | None, bar: float | None) -> str:
    """How many times as fast as CloudKitty; the bar is held against processor time."""
    if theirs is None or seconds is theirs:
        return ""
    wall, cpu = (theirs[clock] / seconds[clock] for clock in ("wall", "cpu"))
    verdict = f", bar {bar:g} x: {'reached' if cpu >= bar else 'MISSED'}" if bar else ""
    return f"   {wall:.2f} x ({cpu:.2f} x){verdict}"


def rows(statement: str) -> list[Any]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
