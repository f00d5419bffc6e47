"""The main job with its real programs: agent, worker and Redis are killed in the middle of the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .accounts import assert_delivered_and_charged_once
from .market import CAPABILITIES, Market
from .test_kills import done, finished

CONFIGURATIONS = [{"model": "neighbours", "parameters": {"n_neighbors": number}} for number in range(1, 11)]


@pytest.mark.timeout(600)
def test_killing_agent_worker_and_redis_in_the_middle_of_the_training_only_delays_it(market: Market, tmp_path: Path) -> None:
    market.publish(CAPABILITIES / "train", trusted=True)
    task_id: str = market.alice.submit("gridfare/train", {"configurations": CONFIGURATIONS, "folds": 3}, objective="fastest")["id"]
    market.stack.wait(lambda: done(market, task_id) >= 2, "nothing is done", "agent-ningxia", 240)
    for part in (busy_agent(market, task_id), "worker", "redis"):
        assert not finished(market, task_id), "too late to be in the middle"
        market.stack.kill(part)
    task = market.ended(task_id, 240)
    found = assert_delivered_and_charged_once(market, task, len(CONFIGURATIONS) + 1)
    assert found["measurable"] > len(CONFIGURATIONS) + 1, "the agent held nothing when it was killed"
    market.alice.download_results(task_id, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["data"]["rows"], len(report["ranking"])) == (1797, len(CONFIGURATIONS))
    assert sorted(one["title"] for one in report["ranking"]) == sorted({one["title"] for one in report["ranking"]})
    assert report["best"]["accuracy"] > 0.95
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def busy_agent(market: Market, task_id: str) -> str:
    """The process name of an agent that runs a unit of the task now."""
    sql = """SELECT p.identifier FROM scheduler_attempt a JOIN marketplace_pool p ON p.id = a.pool_id
             WHERE a.task_id = %s AND a.state IN ('leased', 'running')"""
    market.stack.wait(lambda: market.stack.rows(sql, [task_id]), "no unit runs", "worker", 60)
    pool: Any = market.stack.rows(sql, [task_id])[0]["identifier"]
    return next(f"agent-{name}" for name, identifier in market.pools.items() if identifier == pool)
