"""DuckDB and pandas on the samples of `bench/s8.py`, in an environment of their own. Run by it, never imported.

    python s8_reference.py SAMPLES.npy OUT.json REPEATS

A winning slot is the earliest of its value. A maximum carries its slot in the low bits of its key, which DuckDB finds in one
pass; the others are looked up by their value.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

DAY_KEY = "SELECT subject, day, max(value * 512 + 511 - slot) AS key FROM s GROUP BY ALL"
DAY_MAX = f"SELECT subject, day, key // 512 AS value, 511 - key % 512 AS slot FROM ({DAY_KEY})"
FOUND = """
WITH found AS ({found})
SELECT found.subject, found.day, found.value, min(s.slot) AS slot
  FROM found JOIN s ON s.subject = found.subject AND s.day = found.day AND s.value = found.value GROUP BY ALL
"""
KTH = "SELECT subject, day, (max(value, 5))[5] AS value FROM s GROUP BY ALL"
P95 = "SELECT subject, day, quantile_disc(value, 0.95) AS value FROM s GROUP BY ALL"
TOP = "SELECT *, row_number() OVER (PARTITION BY subject ORDER BY value DESC, day) AS place FROM ({days})"
MEAN = """
SELECT subject, sum(value)::bigint AS total, count(*) AS parts, list(day ORDER BY day) AS days, list(slot ORDER BY day) AS slots
  FROM ({days}) WHERE place <= {taken} GROUP BY ALL
"""
MONTH_P95 = """
WITH found AS (SELECT subject, quantile_disc(value, 0.95) AS value FROM s GROUP BY ALL), won AS (
  SELECT found.subject, found.value, min(s.day * 512 + s.slot) AS place
    FROM found JOIN s ON s.subject = found.subject AND s.value = found.value GROUP BY ALL)
SELECT subject, value AS total, 1 AS parts, [place // 512] AS days, [place % 512] AS slots FROM won
"""


def of_days(days: str, taken: int) -> str:
    return MEAN.format(days=TOP.format(days=days), taken=taken)


QUERIES = {
    "day_max": DAY_MAX,
    "day_kth": FOUND.format(found=KTH),
    "day_p95": FOUND.format(found=P95),
    "month_max": of_days(DAY_MAX, 1),
    "month_mean_day_peak": of_days(DAY_MAX, 31),
    "month_topk_mean": of_days(FOUND.format(found=KTH), 5),
    "month_p95": MONTH_P95,
}
MAX_VALUE = "SELECT subject, day, max(value) AS value FROM s GROUP BY ALL"
TOPK_VALUE = "SELECT subject, list_sum(max(value, 5)) AS total FROM ({}) GROUP BY ALL"
VALUES = {
    "day_max": MAX_VALUE,
    "day_kth": KTH,
    "day_p95": P95,
    "month_max": "SELECT subject, max(value) FROM s GROUP BY ALL",
    "month_mean_day_peak": f"SELECT subject, sum(value), count(*) FROM ({MAX_VALUE}) GROUP BY ALL",
    "month_topk_mean": TOPK_VALUE.format(KTH),
    "month_p95": "SELECT subject, quantile_disc(value, 0.95) FROM s GROUP BY ALL",
}


def first(frame: pd.DataFrame, keys: list[str]) -> Any:
    """The rows of the maxima, with their slots."""
    return frame.loc[frame.groupby(keys)["value"].idxmax()].set_index(keys)["value"]


def nth(frame: pd.DataFrame, keys: list[str], rank: int) -> Any:
    return frame.sort_values("value", ascending=False).groupby(keys)["value"].nth(rank - 1)


def kth_days(frame: pd.DataFrame) -> Any:
    ordered = frame.sort_values("value", ascending=False)
    return ordered[ordered.groupby(["subject", "day"]).cumcount() == 4].set_index("subject")["value"]


PANDAS: dict[str, Callable[[Any], Any]] = {
    "day_max": lambda s: first(s, ["subject", "day"]),
    "day_kth": lambda s: nth(s, ["subject", "day"], 5),
    "day_p95": lambda s: nth(s, ["subject", "day"], 15),
    "month_max": lambda s: first(s, ["subject"]),
    "month_mean_day_peak": lambda s: s.groupby(["subject", "day"])["value"].max().groupby("subject").sum(),
    "month_topk_mean": lambda s: kth_days(s).groupby("subject").nlargest(5).groupby(level=0).sum(),
    "month_p95": lambda s: nth(s, ["subject"], 433),
}


def main(samples: Path, out: Path, repeats: int) -> None:
    frame = frame_of(np.load(samples))
    database = duckdb.connect()
    database.execute("CREATE TABLE s AS SELECT * FROM frame")
    seconds: dict[str, dict[str, dict[str, float]]] = {name: {} for name in QUERIES}
    for name, took in seconds.items():
        took["duckdb"] = best(lambda name=name: keep(database, QUERIES[name]), repeats)
        took["duckdb_value"] = best(lambda name=name: keep(database, VALUES[name]), repeats)
        took["pandas"] = best(lambda name=name: PANDAS[name](frame), 2)
    rows = {name: [flat(row) for row in database.execute(query).fetchall()] for name, query in QUERIES.items()}
    check_pandas(frame, rows)
    out.write_text(json.dumps({"seconds": seconds, "rows": rows}))


def frame_of(samples: Any) -> pd.DataFrame:
    subjects, days, slots = samples.shape
    return pd.DataFrame({
        "subject": np.repeat(np.arange(subjects), days * slots),
        "day": np.tile(np.repeat(np.arange(days), slots), subjects),
        "slot": np.tile(np.arange(slots), subjects * days),
        "value": samples.ravel(),
    })  # fmt: skip


def keep(database: Any, query: str) -> None:
    database.execute(f"CREATE OR REPLACE TEMP TABLE result AS {query}")


def best(step: Any, repeats: int) -> dict[str, float]:
    """The least wall seconds, and the processor seconds of all threads on average."""
    walls, busy = [], time.process_time()
    for _ in range(repeats):
        began = time.perf_counter()
        step()
        walls.append(time.perf_counter() - began)
    return {"wall": min(walls), "cpu": (time.process_time() - busy) / repeats}


def flat(row: tuple[Any, ...]) -> list[int]:
    """(subject, day or -1, total, parts, then day and slot of each winner), as `bench/s8.py` has it."""
    if len(row) == 4:
        subject, day, value, slot = row
        return [subject, day, value, 1, day, slot]
    subject, total, parts, days, slots = row
    return [subject, -1, total, parts, *(number for pair in zip(days, slots, strict=True) for number in pair)]


def check_pandas(frame: pd.DataFrame, rows: dict[str, list[list[int]]]) -> None:
    """pandas' values must be DuckDB's."""
    for name, step in PANDAS.items():
        found, expected = sorted(int(value) for value in step(frame)), sorted(row[2] for row in rows[name])
        if found != expected:
            raise SystemExit(f"pandas and DuckDB differ in {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
