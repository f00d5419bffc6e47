"""What happens on providers' machines: stopped, paused, and poorly equipped ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.market import ERIN
from gridfare.agent.executors.sandbox import find_sandbox
from gridfare.sdk import errors
from tests.agent.programs import marked

from .accounts import assert_delivered_and_charged_once, assert_ledger_balances
from .market import CAPABILITIES, Market, client_of, config_of
from .stack import LEASE_S

# A machine without bubblewrap: the real agent, which looks for it where there is none.
BARE = """
import sys
from gridfare.agent.executors import sandbox
sandbox.SEARCH_PATH = "/no/bubblewrap/here"
from gridfare.cli import app
app(prog_name="gridfare")
"""


def running(market: Market, task_id: str) -> dict[str, Any]:
    """The task's one attempt, once its program has said something."""
    stack = market.stack
    stack.wait(lambda: list(market.alice.logs(task_id)), "the program does not start", "agent-ningxia", 60)
    (unit,) = market.alice.units(task_id)
    return dict(unit["attempts"][-1])


def test_cancelling_ends_the_program_within_seconds_and_the_user_pays_what_it_took(market: Market) -> None:
    task = market.run(["sh", "-c", "echo on; while :; do :; done"])
    attempt = running(market, task["id"])
    time.sleep(2)
    began = time.monotonic()
    market.alice.cancel(task["id"])
    market.stack.wait(lambda: not marked("GRIDFARE_ATTEMPT", str(attempt["id"])), "it runs on", "agent-ningxia", 10)
    ended = market.ended(task["id"])
    assert time.monotonic() - began < 15
    assert ended["state"] == "cancelled"
    (charge,) = market.alice.charges(task["id"])
    assert (charge["payer"], charge["reason"]) == ("user", "user_cancel/cancelled")
    assert float(ended["cost"]["amount"]) > 0
    assert_ledger_balances(market)


def test_what_a_paused_agent_ran_is_done_elsewhere_and_thrown_away_when_it_comes_back(market: Market) -> None:
    """Two programs are caught by the pause: one is still running when the agent comes back, one has ended meanwhile."""
    stack, slept = market.stack, int(time.time()) + 2 * LEASE_S
    market.bob.move_pool(market.pools["guizhou"], "drain")
    early = f"echo on; [ $(date +%s) -ge {slept} ] ||"
    hangs = market.run(["sh", "-c", f"{early} sleep 300; echo late > when.txt"], outputs=["when.txt"])["id"]
    ends = market.run(["sh", "-c", f"{early} sleep 5; echo $$ > when.txt"], outputs=["when.txt"])["id"]
    first = {task_id: running(market, task_id) for task_id in (hangs, ends)}
    assert {attempt["pool"] for attempt in first.values()} == {market.pools["ningxia"]}
    agent = stack.pid("agent-ningxia")
    os.kill(agent, signal.SIGSTOP)
    try:
        while time.time() < slept:
            time.sleep(0.1)
        market.bob.move_pool(market.pools["guizhou"], "resume")
        for task_id in (hangs, ends):
            task = market.ended(task_id)
            assert_delivered_and_charged_once(market, task, 1)
            lost, valid = next(iter(market.alice.units(task_id)))["attempts"]
            assert (lost["id"], lost["state"], lost["reason_class"]) == (first[task_id]["id"], "lost", "node_fault")
            assert (valid["state"], valid["pool"]) == ("valid", market.pools["guizhou"])
        assert marked("GRIDFARE_ATTEMPT", str(first[hangs]["id"])), "it should still run: its agent sleeps"
    finally:
        os.kill(agent, signal.SIGCONT)
    stack.wait(lambda: not marked("GRIDFARE_ATTEMPT", str(first[hangs]["id"])), "it is not killed", "agent-ningxia", 30)
    work = stack.layout.agent_home("ningxia") / "work"
    stack.wait(lambda: not list(work.glob("*/when.txt")), "its files are still there", "agent-ningxia", 30)
    for task_id in (hangs, ends):
        assert_delivered_and_charged_once(market, market.alice.task(task_id), 1)
    assert stack.pid("agent-ningxia") == agent, "it came back by itself"


def bare(command: list[str]) -> list[str]:
    """`python -m gridfare ...` on a machine without bubblewrap."""
    at = command.index("-m")
    return [*command[:at], "-c", BARE, *command[at + 2 :]]


@pytest.fixture
def edge(market: Market) -> Iterator[str]:
    """Erin's pool, whose one machine has no bubblewrap."""
    erin = client_of(market.stack, ERIN.username)
    (pool,) = erin.pools()
    identifier = pool["identifier"]
    market.stack.join({"shanghai": erin.join_token(identifier)["token"]}, bare)
    market.olga.move_pool(identifier, "activate")
    market.stack.run_agent("shanghai", bare)
    yield identifier
    erin.move_pool(identifier, "drain")
    market.stack.dismiss("agent-shanghai")


def loose(folder: Path) -> Path:
    """The command capability under another name, for which no operator gave their word."""
    manifest = (CAPABILITIES / "command" / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(manifest.replace("name: command", "name: loose"))
    return folder


def test_a_machine_without_bubblewrap_says_so_and_takes_only_what_the_operator_vouches_for(
    market: Market, edge: str, tmp_path: Path
) -> None:
    works = find_sandbox(tmp_path, "probe")[0] is not None
    pool = client_of(market.stack, ERIN.username).pool(edge)
    assert pool["executors"] == ["process"]
    assert {test["code"]: test["status"] for test in pool["selftest"]}["sandbox"] == "warn"
    for name, identifier in market.pools.items():
        assert ("sandbox" in config_of(market.stack, name)["executors"]) == works
        assert ("sandbox" in market.bob.pool(identifier)["executors"]) == works

    task = market.alice.submit("gridfare/command", {"argv": ["true"]}, providers=[ERIN.slug])
    assert_delivered_and_charged_once(market, market.ended(task["id"]), 1)
    with pytest.raises(errors.Refused) as refused:
        market.publish(loose(tmp_path), trusted=False)
        market.alice.submit("gridfare/loose", {"argv": ["true"]}, providers=[ERIN.slug])
    assert (refused.value.code, refused.value.document["excluded"]["trust"]) == ("no_pool_fits", 1 if works else 3)
    if works:
        elsewhere = market.alice.submit("gridfare/loose", {"argv": ["sh", "-c", "pwd"]})
        assert_delivered_and_charged_once(market, market.ended(elsewhere["id"]), 1)
        assert [chunk["text"] for chunk in market.alice.logs(elsewhere["id"])] == ["/task\n"]
