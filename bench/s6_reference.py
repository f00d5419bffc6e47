"""CloudKitty's hashmap on the points of `bench/s6.py`, in an environment of its own. Run by it, never imported.

    python s6_reference.py POINTS PRICES.json OUT SECONDS.json

POINTS has a line per point: pool, quantity. OUT gets the price of each, in the same order. Its tables are given in memory as
`_load_rates` makes them of the database: one field mapping per pool. Only `HashMap.process` is timed, on frames of one period.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from cloudkitty.dataframe import DataFrame, DataPoint
from cloudkitty.rating.hash import HashMap

FRAME = 10_000  # points
START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 1, tzinfo=UTC)
SERVICE = "core_second"


class InMemory(HashMap):  # type: ignore[misc]
    """The hashmap with its rules given instead of read from a database."""

    def __init__(self, prices: dict[str, str]) -> None:
        self.prices = prices
        super().__init__()

    def _load_rates(self, start: Any = None) -> None:
        mappings = {pool: {"type": "flat", "cost": Decimal(price)} for pool, price in self.prices.items()}
        fields = {"pool": {"mappings": {"_DEFAULT_": mappings}, "thresholds": {}}}
        self._entries = {SERVICE: {"mappings": {}, "thresholds": {}, "fields": fields}}


def main(points: Path, prices: Path, out: Path, seconds: Path) -> None:
    hashmap = InMemory(json.loads(prices.read_text()))
    wall = cpu = 0.0
    with points.open() as lines, out.open("w") as rated:
        while frame := frame_of(islice(lines, FRAME)):
            began, busy = time.perf_counter(), time.process_time()
            done = hashmap.process(frame)
            wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - busy
            rated.writelines(f"{point.price}\n" for _, point in done.iterpoints())
    seconds.write_text(json.dumps({"wall": wall, "cpu": cpu}))


def frame_of(lines: Any) -> Any:
    """A DataFrame of the lines, None if there are none."""
    points = [point_of(*line.split()) for line in lines]
    return DataFrame(START, END, {SERVICE: points}) if points else None


def point_of(pool: str, quantity: str) -> Any:
    return DataPoint("s", Decimal(quantity), Decimal(0), {"pool": pool}, {})


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
