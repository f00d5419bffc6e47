"""SIGKILL to any part in the middle of a task: it only takes longer, and nobody lends a hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .accounts import assert_delivered_and_charged_once
from .market import Market

PARTS = ("agent-ningxia", "worker", "beat", "redis", "web", "postgres")


def submitted_and_half_way(market: Market, units: int) -> str:
    """A task whose units are being run: some done, most not."""
    task_id: str = market.alice.submit("gridfare/sums", {"count": units})["id"]
    market.stack.wait(lambda: done(market, task_id) >= 3, "nothing is done", "worker", 60)
    assert done(market, task_id) < units - 10, "too late to be in the middle"
    return task_id


def done(market: Market, task_id: str) -> int:
    sql = "SELECT count(*) AS n FROM scheduler_unit WHERE task_id = %s AND state = 'done'"
    return int(market.stack.rows(sql, [task_id])[0]["n"])


def assert_whole(market: Market, task_id: str, units: int, folder: Path) -> dict[str, int]:
    """Delivered as if nothing had happened: the right sum, every unit's file, one charge each."""
    task = market.ended(task_id, 120)
    found = assert_delivered_and_charged_once(market, task, units + 1, task_fees=1)
    files = market.alice.result(task_id)["files"]
    assert len(files) == units + 1
    market.alice.download_results(task_id, folder, files=files[:5])
    assert json.loads((folder / "sum.json").read_text()) == {"units": units, "sum": sum(n * n for n in range(units))}
    return found


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_killed_in_the_middle_only_delays_the_task(market: Market, tmp_path: Path, part: str) -> None:
    units = 60
    task_id = submitted_and_half_way(market, units)
    market.stack.kill(part)
    found = assert_whole(market, task_id, units, tmp_path)
    if part == "agent-ningxia":
        assert found["measurable"] > units + 1, "the agent held nothing when it was killed"


def test_killing_agent_worker_and_redis_one_after_the_other_loses_nothing(market: Market, tmp_path: Path) -> None:
    units = 200
    task_id = submitted_and_half_way(market, units)
    for part in ("agent-guizhou", "worker", "redis", "web", "beat", "agent-ningxia"):
        before = done(market, task_id)
        market.stack.kill(part)
        market.stack.wait(lambda: done(market, task_id) > before or finished(market, task_id), "it stands still", "web", 60)  # noqa: B023
    assert_whole(market, task_id, units, tmp_path)


def finished(market: Market, task_id: str) -> bool:
    sql = "SELECT state FROM marketplace_task WHERE id = %s"
    state: Any = market.stack.rows(sql, [task_id])[0]["state"]
    return bool(state not in ("queued", "running"))
