"""The market on a stack: the cast with their clients, pools with agents, what is published."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.stack.plan import seeded_agents
from demo.market import ALICE, BOB, CAROL, OPERATOR, PASSWORD
from gridfare.client import Client, Retry

from .stack import Stack

CAPABILITIES = Path(__file__).resolve().parents[2] / "capabilities"
SUMS = Path(__file__).parent / "sums"
# Restarts of the web server are part of the stories.
PATIENT = Retry(tries=100, most_s=1.0)
CALLS = """
SELECT 1 FROM marketplace_agent a JOIN marketplace_pool p ON p.id = a.pool_id
WHERE p.identifier = %s AND a.lease_until > now()
"""


@dataclass
class Market:
    """alice asks, bob provides two pools with an agent each, carol publishes, olga operates."""

    stack: Stack
    alice: Client
    bob: Client
    carol: Client
    olga: Client
    pools: dict[str, str]
    """Agent's name → its pool's identifier."""

    def publish(self, folder: Path, *, trusted: bool) -> dict[str, Any]:
        """carol's draft, olga's word, carol's publishing: listed once its tests have passed on a pool."""
        draft: Any = self.carol.draft_capability(folder)
        if trusted:
            self.olga.move_capability(f"{draft['name']}@{draft['version']}", "trust")
        published: Any = self.carol.publish_capability(folder, timeout=240)
        return dict(published)

    def run(self, argv: list[str], **inputs: Any) -> Any:
        """alice's command, handed in."""
        return self.alice.submit("gridfare/command", {"argv": argv, **inputs})

    def ended(self, task_id: str, seconds: float = 90) -> Any:
        """The task at its end, with its final bill."""
        task = self.alice.wait(task_id, seconds, settle_s=30)
        assert task["cost"]["final"], task
        return task


def open_market(data: Path) -> Market:
    """A stack with two agents that work, and two capabilities: command, and sums with its merge."""
    stack = Stack(data)
    stack.start()
    try:
        return _open(stack)
    except BaseException:
        stack.stop()
        raise


def _open(stack: Stack) -> Market:
    names = ("ningxia", "guizhou")
    stack.join({agent.name: agent.token for agent in seeded_agents(stack.seeded) if agent.name in names})
    alice, bob, carol, olga = (client_of(stack, name) for name in (ALICE.username, BOB.username, CAROL.username, OPERATOR))
    pools = {name: config_of(stack, name)["pool"] for name in names}
    for name, identifier in pools.items():
        olga.move_pool(identifier, "activate")
        stack.run_agent(name)
    market = Market(stack, alice, bob, carol, olga, pools)
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(lambda folder: market.publish(folder, trusted=True), [CAPABILITIES / "command", SUMS]))
    return market


def client_of(stack: Stack, username: str) -> Client:
    """Somebody's client, logged in with a password for a key."""
    with Client(stack.url, anonymous=True, retry=PATIENT) as door:
        key = door.login(username, PASSWORD, name="journey")
    return Client(stack.url, key["key"], retry=PATIENT)


def config_of(stack: Stack, name: str) -> dict[str, Any]:
    """What an agent's home says of it."""
    config: dict[str, Any] = json.loads((stack.layout.agent_home(name) / "agent.json").read_text())
    return config


def an_owner(market: Market, slug: str) -> Client:
    """An organization that provides and nothing else, in the hands of olga."""
    asked = {"slug": slug, "name": slug.title(), "is_provider": True, "is_user": False, "owner": OPERATOR}
    market.olga.http.post("/organizations", asked)
    with Client(market.stack.url, anonymous=True, retry=PATIENT) as door:
        key = door.login(OPERATOR, PASSWORD, organization=slug, name="journey")
    return Client(market.stack.url, key["key"], retry=PATIENT)


def a_pool(market: Market, owner: Client, agent: str, price: str, machine: Any = list) -> str:
    """A pool with its offer and a running agent."""
    identifier: str = owner.create_pool(agent, "shanghai")["identifier"]
    owner.create_offer(identifier, "result", {"result": price})
    market.stack.join({agent: owner.join_token(identifier)["token"]})
    market.olga.move_pool(identifier, "activate")
    market.stack.run_agent(agent, machine)
    market.stack.wait(lambda: market.stack.rows(CALLS, [identifier]), "it does not call", f"agent-{agent}")
    return identifier


def retire(market: Market, owners: dict[str, Client]) -> None:
    """Pools that a journey made, by their agent's name with their owner, leave the market."""
    for name, owner in owners.items():
        for pool in owner.pools():
            if pool["name"] == name and pool["state"] != "retired":
                owner.move_pool(pool["identifier"], "retire")
        market.stack.dismiss(f"agent-{name}")
