"""A thousand agents that have nothing to do, connected to one web process."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.stack import plan
from core.stack.ports import HOST
from gridfare.agent.identity import Identity
from gridfare.agent.protocol import Signer

from .market import Market
from .stack import Stack, free_port

AGENTS = 1000
# Copies of a pool that works and of its agent, with numbers that nobody else has.
POOLS = """
INSERT INTO marketplace_pool
SELECT copy.* FROM marketplace_pool pool, generate_series(1, %(count)s) number, LATERAL jsonb_populate_record(
    pool, jsonb_build_object('id', 900000000 + number, 'identifier', 'idle-' || number, 'name', 'idle ' || number,
                             'state', 'active')) copy
WHERE pool.identifier = %(like)s
"""
MACHINES = """
INSERT INTO marketplace_agent
SELECT copy.* FROM marketplace_agent agent JOIN marketplace_pool pool ON pool.id = agent.pool_id,
       generate_series(1, %(count)s) number, LATERAL jsonb_populate_record(
    agent, jsonb_build_object('id', gen_random_uuid(), 'pool_id', 900000000 + number, 'public_key', %(key)s::text,
                              'session', NULL, 'seen_at', NULL, 'lease_until', NULL)) copy
WHERE pool.identifier = %(like)s AND agent.retired_at IS NULL
"""
SEEN = "SELECT count(*) AS n FROM marketplace_agent WHERE pool_id > 900000000 AND seen_at IS NOT NULL"
WAKE = "UPDATE marketplace_pool SET state = 'draining' WHERE id = %(pool)s; SELECT pg_notify('gridfare_pool', %(pool)s::text)"


@dataclass
class Crowd:
    """The thousand, each with one open request all the time."""

    port: int
    agents: dict[int, Signer]
    open: int = 0
    drained_at: dict[int, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    async def poll(self, pool: int) -> None:
        """What an idle agent does: ask, wait, ask again, until it is told to drain."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        session = str(uuid.uuid4())
        try:
            await self._talk(pool, session, reader, writer)
        except (OSError, asyncio.IncompleteReadError) as problem:
            self.failures.append(repr(problem))
        finally:
            writer.close()

    async def _talk(
        self, pool: int, session: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while pool not in self.drained_at:
            writer.write(self._request(pool, session))
            self.open += 1
            answer = await read_answer(reader)
            self.open -= 1
            if answer.get("drain"):
                self.drained_at[pool] = time.monotonic()
            elif "stop" not in answer:
                self.failures.append(str(answer))
                return

    def _request(self, pool: int, session: str) -> bytes:
        body = json.dumps({"session": session, "want": 1, "wait_s": 20, "executors": ["process"], "held": []}).encode()
        url = httpx.URL(f"http://{HOST}:{self.port}/agent/v1/sync")
        head = {"Host": f"{HOST}:{self.port}", "Content-Type": "application/json", "Content-Length": str(len(body))}
        head["Authorization"] = self.agents[pool].header("POST", url, body)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        return f"POST /agent/v1/sync HTTP/1.1\r\n{lines}\r\n".encode() + body


async def read_answer(reader: asyncio.StreamReader) -> dict[str, Any]:
    """The JSON of one response."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    size = next(int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length"))
    document: dict[str, Any] = json.loads(await reader.readexactly(size))
    return document


@pytest.fixture
def web(market: Market) -> Iterator[int]:
    """A web process of its own with the usual lease, so that polls are held as long as they are in life; its port."""
    stack, port = market.stack, free_port()
    labelled = stack.environment["DATABASE_URL"] + "&application_name=idle"
    stack.add(
        "web-idle",
        lambda: plan.web_command(port),
        environment={**stack.environment, "GRIDFARE_LEASE_SECONDS": "60", "DATABASE_URL": labelled},
        wave=1,
    )
    stack.wait(lambda: answers(port), "the web server is not ready", "web-idle")
    yield port
    stack.dismiss("web-idle")


def answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://{HOST}:{port}/healthz", timeout=5).status_code == 200
    return False


@pytest.fixture
def crowd(market: Market, web: int) -> Iterator[Crowd]:
    """A thousand pools with an agent each, straight into the database. All have one key, which saves time."""
    stack, identity = market.stack, Identity(Ed25519PrivateKey.generate())
    like = {"count": AGENTS, "like": market.pools["ningxia"], "key": identity.public_key}
    stack.execute(POOLS, like)
    stack.execute(MACHINES, like)
    rows = stack.rows("SELECT id, pool_id FROM marketplace_agent WHERE pool_id > 900000000")
    yield Crowd(web, {row["pool_id"]: Signer(identity, str(row["id"])) for row in rows})
    stack.execute("DELETE FROM marketplace_agent WHERE pool_id > 900000000")
    stack.execute("DELETE FROM marketplace_pool WHERE id > 900000000")


def test_a_thousand_idle_agents_are_held_by_one_web_process_with_few_threads_and_connections(
    market: Market, crowd: Crowd
) -> None:
    process = psutil.Process(market.stack.pid("web-idle"))
    wakes, threads, connections, held = asyncio.run(live(market.stack, crowd, process))
    print(f"held {held}, threads {threads}, connections {connections}, wakes {sorted(round(w, 3) for w in wakes)} s")
    assert not crowd.failures, crowd.failures[:3]
    assert held >= AGENTS * 0.99
    assert threads <= 40
    assert connections <= 20
    assert statistics.median(wakes) < 1


async def live(stack: Stack, crowd: Crowd, process: psutil.Process) -> tuple[list[float], int, int, int]:
    """Connect all, look at the server, wake some, one after the other, and time their answers."""
    polls = [asyncio.create_task(crowd.poll(pool)) for pool in crowd.agents]
    until = time.monotonic() + 90
    while (await asyncio.to_thread(stack.rows, SEEN))[0]["n"] < AGENTS:
        assert time.monotonic() < until, "they do not all get through"
        await asyncio.sleep(0.2)
    await asyncio.sleep(1)
    threads, held = process.num_threads(), crowd.open
    sql = "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'idle'"
    connections = (await asyncio.to_thread(stack.rows, sql))[0]["n"]
    wakes = [await wake(stack, crowd, pool) for pool in list(crowd.agents)[:: AGENTS // 9]]
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    return wakes, threads, connections, held


async def wake(stack: Stack, crowd: Crowd, pool: int) -> float:
    """Seconds from the announcement of a change of its pool to its agent's answer."""
    began = time.monotonic()
    await asyncio.to_thread(stack.execute, WAKE, {"pool": pool})
    while pool not in crowd.drained_at:
        assert time.monotonic() - began < 60, f"never woken; {crowd.open} wait, {crowd.failures[:3]}"
        await asyncio.sleep(0.005)
    return crowd.drained_at[pool] - began
