"""A machine is wanted back in the middle of the work: the work goes on elsewhere, and everybody gets what is theirs."""

from __future__ import annotations

import contextlib
import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gridfare.sdk import errors
from tests.agent.programs import alive, marked

from .accounts import assert_bill_equals_charges, assert_ledger_balances, witness
from .market import Market

COUNTING = Path(__file__).parent / "counting"
STEPS = 150  # fifteen seconds of processor time


@pytest.fixture(scope="module")
def counting(market: Market) -> str:
    """carol's program that saves what it has."""
    made = market.publish(COUNTING, trusted=True)
    return f"{made['name']}@{made['version']}"


def charges_by_reason(market: Market, task_id: str) -> dict[str, Any]:
    return {charge["reason"]: charge for charge in market.alice.charges(task_id)}


def core_seconds(charge: Any) -> Decimal:
    (line,) = [line for line in charge["lines"] if line["meter"] in ("core_second", "occupancy_second")]
    return Decimal(line["quantity"])


def test_a_reclaimed_unit_resumes_elsewhere_from_its_checkpoint_and_the_bill_is_right(
    market: Market, counting: str, tmp_path: Path
) -> None:
    stack = market.stack
    market.bob.move_pool(market.pools["guizhou"], "drain")
    task_id = market.alice.submit(counting, {"steps": STEPS})["id"]
    stack.wait(lambda: list(market.alice.logs(task_id)), "the program does not start", "agent-ningxia", 60)
    saved = "SELECT c.* FROM scheduler_checkpoint c JOIN scheduler_attempt a ON a.id = c.attempt_id WHERE a.task_id = %s"
    stack.wait(lambda: stack.rows(saved, [task_id]), "nothing is saved", "agent-ningxia", 30)
    market.bob.move_pool(market.pools["guizhou"], "resume")
    wanted = market.bob.reclaim_pool(market.pools["ningxia"], 2.0)
    assert wanted["reclaim_at"]
    try:
        task = market.ended(task_id)
    finally:
        market.bob.give_back_pool(market.pools["ningxia"])
    assert task["state"] == "delivered", task
    (unit,) = market.alice.units(task_id)
    tries = [one for one in unit["attempts"] if one["state"] != "released"]
    assert [(one["state"], one["reason_class"], one["pool"]) for one in tries] == [
        ("failed", "reclaimed", market.pools["ningxia"]),
        ("valid", "", market.pools["guizhou"]),
    ]
    assert tries[0]["saved_at"]
    market.alice.download_results(task_id, tmp_path)
    result = json.loads(next(tmp_path.rglob("counted.json")).read_text())
    assert result["counted"] == STEPS
    assert 10 <= result["begun_at"] < STEPS, "it should have gone on, not begun anew"
    assert_paid_up_to_the_checkpoint(market, task, result["begun_at"])


def assert_paid_up_to_the_checkpoint(market: Market, task: Any, steps: int) -> None:
    """The first pool for the steps that were gone on from (0.1 s each), the second for the rest, carol for one unit."""
    charges = charges_by_reason(market, task["id"])
    first, second = charges["checkpointed/delivered"], charges["valid/delivered"]
    assert {first["payer"], second["payer"]} == {"user"}
    (record,) = market.stack.rows(
        "SELECT * FROM metering_usagerecord WHERE task_id = %s AND reason_class = 'checkpointed'", [task["id"]]
    )
    assert core_seconds(first) == Decimal(record["core_ms"]) / 1000
    assert steps * 0.1 * 0.8 < record["core_ms"] / 1000 < steps * 0.1 + 2.5
    assert [line["meter"] for line in first["lines"]].count("publisher_fee") == 0
    assert [line["meter"] for line in second["lines"]].count("publisher_fee") == 1
    found = witness(market, task["id"])
    assert (found["valid"], found["live"], found["paid_by_user"]) == (1, 0, 2)
    assert found["measured"] == found["charged"] == found["measurable"]
    assert_bill_equals_charges(market, task)


def test_a_pool_in_maintenance_gives_its_work_away_and_works_again_when_it_is_over(market: Market) -> None:
    stack, pool = market.stack, market.pools["ningxia"]
    market.bob.move_pool(market.pools["guizhou"], "drain")
    task_id = market.run(["sh", "-c", "echo on; sleep 6; echo done > done.txt"], outputs=["done.txt"])["id"]
    stack.wait(lambda: list(market.alice.logs(task_id)), "the program does not start", "agent-ningxia", 60)
    now = stack.rows("SELECT now() AS now, now() + interval '1 hour' AS later")[0]
    window = market.bob.plan_window(pool, now["now"].isoformat(), now["later"].isoformat(), category="power")
    try:
        stack.wait(lambda: _state(market, task_id) == "waiting", "it is not given back", "agent-ningxia", 30)
        market.bob.take_back_window(pool, window["number"])
        task = market.ended(task_id)
        (unit,) = market.alice.units(task_id)
        assert [one["state"] for one in unit["attempts"] if one["state"] != "released"] == ["failed", "valid"]
        assert {one["pool"] for one in unit["attempts"]} == {pool}
        assert task["state"] == "delivered"
    finally:
        market.bob.move_pool(market.pools["guizhou"], "resume")
        with contextlib.suppress(errors.Conflict):  # over, when all went well
            market.bob.take_back_window(pool, window["number"])
    assert_ledger_balances(market)


def test_a_private_machine_is_its_owners_again_and_its_work_is_done_elsewhere(market: Market, tmp_path: Path) -> None:
    """A community pool joins with careful rules; its owner sits down at it in the middle of a program.

    Nobody compares a command's result, so nobody's desktop gets one, unless whoever asks says that it will do.
    """
    stack, desk = market.stack, tmp_path / "owner"
    pool = market.bob.create_pool("a desktop", "ningxia", kind="community", tier="end")["identifier"]
    market.bob.create_offer(pool, "consumption", {"core_second": "0.000001"})
    stack.join({"desktop": market.bob.join_token(pool)["token"]})
    home = stack.layout.agent_home("desktop") / "agent.json"
    config = json.loads(home.read_text())
    assert (config["idle"]["min_idle_s"], config["idle"]["on_battery"]) == (300.0, False)
    config["idle"] |= {"min_idle_s": 1.0, "max_load": None, "presence": [str(desk)]}
    home.write_text(json.dumps(config))
    market.olga.move_pool(pool, "activate")
    stack.run_agent("desktop")
    here = "SELECT 1 FROM marketplace_pool p JOIN marketplace_agent g ON g.pool_id = p.id WHERE p.identifier = %s"
    idle = f"{here} AND g.lease_until > now() AND p.reclaim_at IS NULL AND g.session IS NOT NULL"
    stack.wait(lambda: stack.rows(idle, [pool]), "it does not offer itself", "agent-desktop", 60)
    for other in market.pools.values():
        market.bob.move_pool(other, "drain")
    try:
        command = {"argv": ["sh", "-c", "echo on; sleep 6; echo done > done.txt"], "outputs": ["done.txt"]}
        assert market.alice.quote("gridfare/command", command)["excluded"]["trust"] == 1
        task_id = market.alice.submit("gridfare/command", command, more={"accept_unproven": True})["id"]
        stack.wait(lambda: list(market.alice.logs(task_id)), "the program does not start", "agent-desktop", 60)
        for other in market.pools.values():
            market.bob.move_pool(other, "resume")
        (unit,) = market.alice.units(task_id)
        assert unit["attempts"][-1]["pool"] == pool
        pids = marked("GRIDFARE_ATTEMPT", str(unit["attempts"][-1]["id"]))
        began = time.monotonic()
        desk.touch()
        stack.wait(lambda: not any(alive(pid) for pid in pids), "it runs on", "agent-desktop", 20)
        assert time.monotonic() - began < 1.0
        stack.wait(lambda: market.bob.pool(pool)["reclaim_at"], "the pool does not close", "agent-desktop", 20)
        task = market.ended(task_id)
    finally:
        for other in market.pools.values():
            market.bob.move_pool(other, "resume")
        stack.dismiss("agent-desktop")
        market.bob.move_pool(pool, "retire")
    (unit,) = market.alice.units(task_id)
    tries = [(one["state"], one["code"], one["pool"]) for one in unit["attempts"] if one["state"] != "released"]
    assert tries[0] == ("failed", "owner_returned", pool)
    assert (tries[-1][0], tries[-1][2] in market.pools.values()) == ("valid", True)
    assert {charge["reason"] for charge in market.alice.charges(task_id)} == {"reclaimed/delivered", "valid/delivered"}
    assert_bill_equals_charges(market, task)


def _state(market: Market, task_id: str) -> str:
    (unit,) = market.alice.units(task_id)
    return str(unit["state"])
