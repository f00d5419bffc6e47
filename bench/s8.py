"""S8: every peak policy over five-minute samples of a month, beside DuckDB and pandas on the same samples.

    python -m bench s8 [SUBJECTS ...]       default 500: x 30 days x 288 slots = 4.32 million samples

Ours reads days as they are kept once they are over: an array of slots, and the same slots ranked (`metering/peaks_sql.py`).
Ranking is paid once, when a day is written, and timed apart, as are the digests; DuckDB and pandas pay nothing for it. They
have the samples as rows in memory. Everybody is asked for the value and the slot that wins, pandas for the slot only where it is
a maximum. Ours also finds rank, valid days, unknown slots and the value without them. Results stay in a temporary table on
both sides. Best of several runs, wall and processor time: ours in one process, DuckDB with its threads. Values, days and slots
must be equal to the last one; so must the pure functions' for the first subjects.

DuckDB and pandas are installed into a folder that is thrown away; where they cannot be, ours is timed alone.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.charge import processor_seconds, run, scratch_database
from bench.figures import save, say
from metering.peaks import Calendar, Day, Policy, peaks_of
from metering.peaks_sql import digests, parameters, peak_of, ranked, statement

PACKAGES = ("duckdb==2.0.1", "pandas==3.1.1")
DAYS, SLOTS, REPEATS, CHECKED, SEED = 30, 288, 5, 10, 7
FIRST = date(2026, 6, 1)
BAR_DUCKDB, BAR_PANDAS = 2.0, 1.0
POLICIES = {
    "day_max": Policy("day_max"),
    "day_kth": Policy("day_kth", k=5),
    "day_p95": Policy("day_p95"),
    "month_max": Policy("month_max"),
    "month_mean_day_peak": Policy("month_mean_day_peak"),
    "month_topk_mean": Policy("month_topk_mean", k=5, day="day_kth", day_k=5),
    "month_p95": Policy("month_p95"),
}
Rows = list[tuple[int, ...]]
Seconds = dict[str, dict[str, float]]  # of DuckDB, DuckDB for values alone, pandas


def main(sizes: list[int]) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    with scratch_database(), tempfile.TemporaryDirectory(prefix="gridfare-s8-") as folder:
        python = installed(Path(folder))
        save("s8", [figures_of(size, Path(folder), python) for size in sizes or [500]])


def installed(folder: Path) -> Path | None:
    """A Python that has DuckDB and pandas, in the folder."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        say(f"{' and '.join(PACKAGES)} cannot be installed here ({last}): ours is timed alone and nothing is compared")
        return None
    return python


def samples_of(subjects: int) -> Any:
    """int64 [subject, day, slot]: a daily curve times a day's level, and noise; many ties, nothing unknown, every day used."""
    random = np.random.default_rng(SEED)
    level = random.integers(1, 2_000, (subjects, 1, 1)) * random.uniform(0.3, 1.5, (subjects, DAYS, 1))
    curve = 1 + np.sin(np.linspace(0, 2 * np.pi, SLOTS))
    return (level * curve * 10).astype(np.int64) + random.integers(0, 2_000, (subjects, DAYS, SLOTS))


def figures_of(subjects: int, folder: Path, python: Path | None) -> dict[str, Any]:
    samples = samples_of(subjects)
    say(f"{subjects:,} subjects x {DAYS} days x {SLOTS} slots = {samples.size:,} samples")
    say(f"  best of {REPEATS} runs; wall (processor) milliseconds")
    kept = store(samples)
    ours, rows = gridfare()
    theirs, their_rows = reference(samples, folder, python)
    equal = {name: name not in their_rows or rows[name] == their_rows[name] for name in POLICIES}
    pure = {name: pure_rows(policy, samples) == firsts(rows[name]) for name, policy in POLICIES.items()}
    for name in POLICIES:
        say_line(name, ours[name], theirs.get(name, {}), equal[name] and pure[name])
    totals(ours, theirs)
    return {"subjects": subjects, "kept": kept, "ours": ours, "theirs": theirs, "equal": equal, "pure": pure}


def store(samples: Any) -> dict[str, float]:
    """Days as they are sampled, and as they are kept; what it takes to rank them and to digest them."""
    run("DROP TABLE IF EXISTS s8_bare, s8_days")
    run("CREATE TABLE s8_bare (subject bigint, meter text, local_day date, slots bigint[])")
    copy_days(samples)
    run(f"CREATE TABLE s8_days AS SELECT * FROM {ranked('s8_bare')} AS day WITH NO DATA")
    run("CREATE UNIQUE INDEX ON s8_days (subject, meter, local_day)")
    seconds = {"rank and store": timed(lambda: run(f"INSERT INTO s8_days SELECT * FROM {ranked('s8_bare')} AS day"), 1)["wall"]}
    run("VACUUM ANALYZE s8_bare")
    run("VACUUM ANALYZE s8_days")
    seconds["digest"] = timed(lambda: kept_in(digests("s8_days"), {"days": calendar_days()}), 1)["wall"]
    sizes = {table: one(f"SELECT pg_total_relation_size('{table}') / 1048576.0") for table in ("s8_bare", "s8_days")}
    per_day = seconds["rank and store"] / (samples.size / SLOTS) * 1e6
    say(f"  not in the times below: {per_day:,.0f} us to rank and store a day, once")
    say(f"  nor: {seconds['digest'] * 1e3:,.0f} ms for all subjects' digests")
    say(f"  {sizes['s8_bare']:,.0f} MiB of bare slots, {sizes['s8_days']:,.0f} MiB with their ranks and key")
    return seconds | sizes


def copy_days(samples: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor, cursor.copy("COPY s8_bare FROM STDIN") as copy:
        for subject, days in enumerate(samples):
            text = io.StringIO()
            for day, slots in zip(calendar_days(), days.tolist(), strict=True):
                text.write(f"{subject}\tgpu\t{day}\t{{{','.join(map(str, slots))}}}\n")
            copy.write(text.getvalue())


def calendar_days() -> list[date]:
    return [FIRST + timedelta(days=number) for number in range(DAYS)]


def calendar() -> Calendar:
    return Calendar(tuple((day, SLOTS) for day in calendar_days()), DAYS)


def gridfare() -> tuple[dict[str, Any], dict[str, Rows]]:
    """Seconds and rows of each policy's statement."""
    from django.db import connection

    seconds, rows = {}, {}
    run("SET max_parallel_workers_per_gather = 0")  # so that one process's processor time is all
    for name, policy in POLICIES.items():
        sql, given = statement(policy, "s8_days"), parameters(policy, calendar())
        seconds[name] = timed(lambda sql=sql, given=given: kept_in(sql, given), REPEATS)  # type: ignore[misc]
        with connection.cursor() as cursor:
            cursor.execute(sql, given)
            rows[name] = sorted(flat(peak_of(row)) for row in cursor.fetchall())
    return seconds, rows


def kept_in(sql: str, given: dict[str, Any]) -> None:
    """Run a statement and leave its rows in a temporary table, as a statement that charges leaves them in one."""
    from django.db import connection

    names = ", ".join(f"c{number}" for number in range(3 if "sha256" in sql else 15))
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.s8_result")
        cursor.execute(f"CREATE TEMP TABLE s8_result ({names}) AS {sql}", given)


def flat(found: tuple[tuple[Any, str], Any]) -> tuple[int, ...]:
    """(subject, day or -1, total, parts, then day and slot of each winner)."""
    (subject, _), peak = found
    day = -1 if peak.local_day is None else (peak.local_day - FIRST).days
    winners = sorted(((winner.local_day - FIRST).days, winner.slot) for winner in peak.winners)
    return (subject, day, peak.total, peak.parts, *(number for winner in winners for number in winner))


def firsts(rows: Rows) -> Rows:
    return [row for row in rows if row[0] < CHECKED]


def pure_rows(policy: Policy, samples: Any) -> Rows:
    """The same by the pure functions, for the first subjects."""
    rows = []
    for subject in range(min(CHECKED, len(samples))):
        days = [Day(day, tuple(slots)) for day, slots in zip(calendar_days(), samples[subject].tolist(), strict=True)]
        rows += [flat(((subject, "gpu"), peak)) for peak in peaks_of(policy, days, calendar())]
    return sorted(rows)


def reference(samples: Any, folder: Path, python: Path | None) -> tuple[dict[str, Seconds], dict[str, Rows]]:
    """Seconds of DuckDB and pandas, and DuckDB's rows, from a process of their own."""
    if python is None:
        return {}, {}
    np.save(folder / "samples.npy", samples)
    script = Path(__file__).with_name("s8_reference.py")
    subprocess.run([python, script, folder / "samples.npy", folder / "out.json", str(REPEATS)], check=True)
    document = json.loads((folder / "out.json").read_text())
    return document["seconds"], {name: sorted(map(tuple, rows)) for name, rows in document["rows"].items()}


def timed(step: Callable[[], object], repeats: int) -> dict[str, float]:
    """The least wall seconds, and PostgreSQL's own processor seconds on average: its clock ticks in hundredths."""
    walls, busy = [], processor_seconds()
    for _ in range(repeats):
        began = time.perf_counter()
        step()
        walls.append(time.perf_counter() - began)
    return {"wall": min(walls), "cpu": (processor_seconds() - busy) / repeats}


def one(sql: str) -> float:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return float(cursor.fetchone()[0])


def say_line(name: str, ours: dict[str, float], theirs: Seconds, equal: bool) -> None:
    """Each as wall (processor) milliseconds; the ratio of both."""
    text = f"  {name:20} ours {shown(ours)}"
    if theirs:
        fast = against(ours, theirs["duckdb"]) <= BAR_DUCKDB and against(ours, theirs["pandas"]) <= BAR_PANDAS
        text += f"   DuckDB {shown(theirs['duckdb'])} {ratios(ours, theirs['duckdb'])}, value alone {shown(theirs['duckdb_value'])}"
        text += f"   pandas {shown(theirs['pandas'])} {ratios(ours, theirs['pandas'])}"
        text += f"   bar {'reached' if fast and equal else 'MISSED'}"
    say(f"{text}   {'equal' if equal else 'DIFFERENT'}")


def shown(seconds: dict[str, float]) -> str:
    return f"{seconds['wall'] * 1e3:,.0f} ({seconds['cpu'] * 1e3:,.0f})"


def against(ours: dict[str, float], theirs: dict[str, float]) -> float:
    return ours["wall"] / theirs["wall"]


def ratios(ours: dict[str, float], theirs: dict[str, float]) -> str:
    return f"x {against(ours, theirs):.2f} (x {ours['cpu'] / theirs['cpu']:.2f})"


def totals(ours: dict[str, Any], theirs: dict[str, Seconds]) -> None:
    """All policies together."""
    mine = summed(list(ours.values()))
    text = f"  all policies         ours {shown(mine)}"
    for name in ("duckdb", "pandas") if theirs else ():
        total = summed([one[name] for one in theirs.values()])
        text += f"   {name} {shown(total)} {ratios(mine, total)}"
    say(text)


def summed(seconds: list[dict[str, float]]) -> dict[str, float]:
    return {clock: sum(one[clock] for one in seconds) for clock in ("wall", "cpu")}


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]])
