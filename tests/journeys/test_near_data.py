"""Two regions, real agents: a copy of a file draws the work to it, until the other pool is so cheap that the file travels."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.market import ALICE, PASSWORD
from gridfare.client import Client

from .accounts import assert_delivered_and_charged_once
from .market import Market

SIZE, PROGRAM = 3_000_000, 100_000  # bytes; of the program at most
NEAR, FAR = "gansu", "guangdong"
# What an operator's topology says: from Shanghai, where alice's files are, to both regions, at 1 CNY a GB.
WAYS = """
INSERT INTO scheduler_networknode (code, name, region_id, latitude, longitude, locator, domain, updated_at)
SELECT 'way-' || code, name, id, latitude, longitude, '', 'journey', now() FROM marketplace_region
WHERE code IN ('shanghai', %(near)s, %(far)s);
INSERT INTO scheduler_networklink (source_id, target_id, capacity_mbps, free_mbps, latency_p50_s, latency_p90_s, jitter_p99_s,
    loss, price_per_gb, carbon_g_per_gb, domain, sid, overlay, origin, measured_at, updated_at)
SELECT here.id, there.id, 1000, 1000, 0.01, 0.02, 0.001, 0, 1, 0, 'journey', '', false, 'operator', now(), now()
FROM scheduler_networknode here, scheduler_networknode there
WHERE here.code = 'way-shanghai' AND there.code IN ('way-' || %(near)s, 'way-' || %(far)s)
"""
NO_WAYS = "DELETE FROM scheduler_networklink WHERE domain = 'journey'; DELETE FROM scheduler_networknode WHERE domain = 'journey'"
CALLS = """
SELECT 1 FROM marketplace_agent a JOIN marketplace_pool p ON p.id = a.pool_id WHERE p.identifier = %s AND a.lease_until > now()
"""
MOVED = "SELECT coalesce((usage->>'bytes_in')::bigint, 0) AS bytes FROM scheduler_attempt WHERE task_id = %s AND state = 'valid'"


@dataclass
class Story:
    """Two pools of bob's that are paid by the unit, and alice's file."""

    market: Market
    pools: dict[str, str]
    file: str
    key: str

    def task(self) -> Any:
        """alice counts the bytes of her file, on either pool."""
        argv = ["sh", "-c", "wc -c < in/files/scene.bin > size.txt"]
        wanted = {"argv": argv, "files": [self.file], "outputs": ["size.txt"]}
        handed_in = self.market.alice.submit("gridfare/command", wanted, regions=[NEAR, FAR])
        task = self.market.ended(handed_in["id"])
        assert_delivered_and_charged_once(self.market, task, 1)
        return task

    def pool_of(self, task: Any) -> str:
        (unit,) = self.market.alice.units(task["id"])
        return next(str(one["pool"]) for one in unit["attempts"] if one["state"] == "valid")

    def candidates(self, task: Any) -> dict[str, Any]:
        """What /explain says of both pools."""
        (decision,) = self.market.alice.explain(task["id"])["decisions"]
        return {one["pool"]: one for one in decision["candidates"]}

    def moved(self, task: Any) -> int:
        (row,) = self.market.stack.rows(MOVED, [task["id"]])
        return int(row["bytes"])

    def copy(self) -> str:
        (one,) = json.loads(self.cli("places", self.file, "--json"))["replicas"]
        return str(one["state"])

    def cli(self, *words: str) -> str:
        """`gridfare artifact ...` with alice's key."""
        stack = self.market.stack
        done = stack.cli("--url", stack.url, "--key", self.key, "artifact", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout


def open_pool(market: Market, region: str, price: str, *, store_mib: int) -> str:
    """A pool with an offer and an agent at work that keeps copies."""
    stack, name = market.stack, f"{region}-store"
    identifier: str = market.bob.create_pool(f"{region} store", region)["identifier"]
    market.bob.create_offer(identifier, "result", {"result": price})
    stack.join({name: market.bob.join_token(identifier)["token"]})
    if store_mib:
        done = stack.cli("agent", "store", "--home", str(stack.layout.agent_home(name)), "--mib", str(store_mib))
        assert done.returncode == 0, done.stderr
    market.olga.move_pool(identifier, "activate")
    stack.run_agent(name)
    stack.wait(lambda: stack.rows(CALLS, [identifier]), "the agent does not call", f"agent-{name}", 60)
    return identifier


@pytest.fixture
def story(market: Market, tmp_path: Path) -> Iterator[Story]:
    market.stack.execute(WAYS, {"near": NEAR, "far": FAR})
    pools = {NEAR: open_pool(market, NEAR, "0.011", store_mib=64), FAR: open_pool(market, FAR, "0.010", store_mib=0)}
    file = tmp_path / "scene.bin"
    file.write_bytes(os.urandom(SIZE))
    with Client(market.stack.url, anonymous=True) as door:
        key = door.login(ALICE.username, PASSWORD, name="copies")["key"]
    yield Story(market, pools, market.alice.upload(file), key)
    for region, identifier in pools.items():
        market.bob.move_pool(identifier, "drain")
        market.stack.dismiss(f"agent-{region}-store")
    market.stack.execute(NO_WAYS)


def test_work_goes_to_the_copy_of_its_data_while_the_other_pool_is_only_a_little_cheaper(story: Story) -> None:
    near, far = story.pools[NEAR], story.pools[FAR]
    first = story.task()
    assert story.pool_of(first) == far, "without a copy the file travels either way"
    assert story.moved(first) >= SIZE

    story.cli("replicate", story.file, NEAR)
    story.market.stack.wait(lambda: story.copy() == "held", "no copy arrives", f"agent-{NEAR}-store", 60)
    second = story.task()
    assert story.pool_of(second) == near
    assert story.moved(second) < PROGRAM
    told = story.candidates(second)
    assert (told[near]["egress"], told[near]["transfer_s"]) == (0, 0)
    assert told[far]["price"] < told[near]["price"]
    assert told[near]["cost"] < told[far]["cost"]

    story.market.bob.create_offer(far, "result", {"result": "0.001"})
    third = story.task()
    assert story.pool_of(third) == far, "the file travels to where work is so much cheaper"
    told = story.candidates(third)
    assert told[far]["cost"] < told[near]["cost"]
    assert told[near]["egress"] == 0
