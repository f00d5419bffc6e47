"""Idle agents: a thousand long polls at one web process, and how quickly one of them is woken.

    python -m bench agents [N ...]      default 1000

Each agent is a coroutine here that signs its own syncs, so what is measured is the web process: its threads, memory
and database connections while all wait, the processor it uses for that, and the time from the commit that places a
unit on a pool until its agent holds the lease. The reference is the same wake with a single agent connected.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
import uuid
from typing import Any

import httpx
import psutil
import psycopg

from bench.figures import save, say
from bench.market import COMMAND, Market, scratch_market

SYNC = "/agent/v1/sync"
WAKES = 200
IDLE_S = 20
SEED = 20_251


def main(sizes: list[int]) -> None:
    """Each number of agents, beside one agent alone."""
    with scratch_market(cores=1) as market:
        market.stop("worker", "beat")  # nobody places units but this benchmark
        _enter(market)
        task = market.people.alice.submit(COMMAND, {"argv": ["/bin/true"], "count": 1 + WAKES * (1 + len(sizes or [1]))})
        _expand(task["id"])
        figures = [asyncio.run(_figures_of(market, number)) for number in [1, *(sizes or [1_000])]]
    save("agents", figures)


def _enter(market: Market) -> None:
    """Django, over the market's own servers."""
    import django

    os.environ.update(market.environment)
    django.setup()


def _expand(task_id: str) -> None:
    from scheduler.services.expanding import expand_task

    expand_task(task_id)


async def _figures_of(market: Market, number: int) -> dict[str, Any]:
    agents = await asyncio.to_thread(_make_agents, number)
    heard: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
    polls = [asyncio.create_task(_poll(market.url, agent, heard)) for agent in agents]
    await asyncio.sleep(5 + number / 50)
    idle = await asyncio.to_thread(_web_at_rest, market)
    say(f"\n{number:,} idle agents: " + ", ".join(f"{name} {value:,.2f}" for name, value in idle.items()))
    delays = [await _wake_one(agent, heard) for agent in random.Random(SEED).choices(agents, k=WAKES)]
    for poll in polls:
        poll.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    await asyncio.to_thread(_retire_agents, agents)
    delays.sort()
    figures = {"agents": number, **idle, "wake_ms_p50": delays[WAKES // 2], "wake_ms_p99": delays[WAKES * 99 // 100]}
    say(f"  a wake: p50 {figures['wake_ms_p50']:.1f} ms, p99 {figures['wake_ms_p99']:.1f} ms")
    return figures


def _make_agents(number: int) -> list[Any]:
    from django.db import transaction

    from marketplace.models import Agent
    from tests.builders import a_pool

    with transaction.atomic():
        pools = [a_pool() for _ in range(number)]
    return list(Agent.objects.filter(pool__in=pools).select_related("pool"))


def _retire_agents(agents: list[Any]) -> None:
    from django.utils import timezone

    from marketplace.models import Agent

    Agent.objects.filter(pk__in=[agent.pk for agent in agents]).update(retired_at=timezone.now())


async def _poll(url: str, agent: Any, heard: asyncio.Queue[tuple[int, float]]) -> None:
    """One agent for ever: wait for work, tell when it came, hold it. A client each: a shared pool looks at all connections."""
    from tests.builders import signed

    held: list[list[Any]] = []
    beat = {"session": str(uuid.uuid4()), "want": 8, "wait_s": 20, "executors": ["process"], "reports": None}
    async with httpx.AsyncClient(base_url=url, verify=False, trust_env=False, timeout=60) as client:
        while True:
            body = json.dumps(beat | {"held": held}).encode()
            headers = signed(agent, "POST", SYNC, body) | {"Content-Type": "application/json"}
            answer = (await client.post(SYNC, content=body, headers=headers)).raise_for_status().json()
            for lease in answer["leases"]:
                held.append([lease[0], lease[1], "queued", None])
                heard.put_nowait((agent.pool_id, time.perf_counter()))


def _web_at_rest(market: Market) -> dict[str, float]:
    web = psutil.Process(market.processes["web"].pid)
    before, began = sum(web.cpu_times()[:2]), time.perf_counter()
    time.sleep(IDLE_S)
    busy = (sum(web.cpu_times()[:2]) - before) / (time.perf_counter() - began)
    with psycopg.connect(market.urls.database_url) as link:
        found = link.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'web'")
        (connections,) = found.fetchone() or (0,)
    sockets = sum(1 for one in web.net_connections() if one.status == psutil.CONN_ESTABLISHED)
    return {
        "threads": web.num_threads(),
        "rss_mib": web.memory_info().rss / 2**20,
        "database_connections": connections,
        "sockets": sockets,
        "processor_share": busy,
    }


async def _wake_one(agent: Any, heard: asyncio.Queue[tuple[int, float]]) -> float:
    """Milliseconds from the commit that places a unit on the agent's pool until the agent holds its lease."""
    began = await asyncio.to_thread(_place_one, agent.pool_id)
    pool_id, at = await asyncio.wait_for(heard.get(), 60)
    assert pool_id == agent.pool_id
    await asyncio.sleep(0.05)
    return (at - began) * 1000


def _place_one(pool_id: int) -> float:
    from django.db import transaction

    from marketplace.models import Offer
    from scheduler.models import Unit
    from scheduler.services.placing import notify_pool

    with transaction.atomic():
        unit = Unit.objects.filter(state="waiting").order_by("id").values_list("id", flat=True)[:1].get()
        offer = Offer.objects.filter(pool_id=pool_id).values_list("id", flat=True)[:1].get()
        Unit.objects.filter(pk=unit).update(state="placed", pool_id=pool_id, offer_id=offer)
        notify_pool(pool_id)
        return time.perf_counter()
