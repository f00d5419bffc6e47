"""One task at a time, handed in over HTTP: how soon it is placed, in a market of a thousand pools.

    python -m bench submit [TASKS] [POOLS]          default 200 1000

The whole platform runs as `make up` runs it. Two pools have agents; the others are copies of one of them at a hundred times
the price, so that they are all looked at and none wins. Placed is the moment of the round that gave the unit to its
pool; leased is when that pool's agent had it. The reference is a request that only asks who it comes from,
made before each submit: it goes up and down with the machine's pace.
"""

from __future__ import annotations

import time
from statistics import median, quantiles
from typing import Any

import psycopg

from bench.figures import save, say
from bench.market import COMMAND, Market, scratch_market

BAR_MS = 50.0
_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND is_identity = 'NO' AND column_name <> 'id'"
_TOOK = """
SELECT extract(epoch FROM r.at - t.created_at) * 1000, extract(epoch FROM a.leased_at - t.created_at) * 1000
FROM marketplace_task t JOIN scheduler_unit u ON u.task_id = t.id JOIN scheduler_attempt a ON a.unit_id = u.id
JOIN scheduler_decision d ON d.id = u.decision_id JOIN scheduler_round r ON r.id = d.round_id
WHERE t.name = 'timed' ORDER BY t.id
"""


def main(sizes: list[int]) -> None:
    """Hand in, one after the other, and read off the rows."""
    tasks, pools = (sizes + [200, 1000][len(sizes) :])[:2]
    with scratch_market(cores=1) as market:
        market.start_agents("null")
        market.deliver(5, ("/bin/true",), 60, 0.005)
        with psycopg.connect(market.urls.database_url, autocommit=True) as connection:
            copy_pools(connection, pools - 2)
            asked = hand_in(market, tasks)
            time.sleep(2)
            took = connection.execute(_TOOK).fetchall()
    figures = figures_of(asked, [(float(placed), float(leased)) for placed, leased in took], pools)
    save("submit", figures)


def copy_pools(connection: psycopg.Connection[Any], count: int) -> None:
    """So many more active pools, dear ones, with agents that never ask."""
    for n in range(count):
        pool = _copy(connection, "marketplace_pool", {"identifier": f"'copy-{n}'", "name": f"'copy {n}'"}, "true")
        lease = {"pool_id": str(pool), "public_key": f"'copy-{n}'", "lease_until": "now() + interval '1 day'"}
        _copy(connection, "marketplace_agent", lease | {"id": "gen_random_uuid()"}, "retired_at IS NULL")
        offer = _copy(connection, "marketplace_offer", {"pool_id": str(pool), "used": "false"}, "true")
        _copy(connection, "marketplace_rate", {"offer_id": str(offer), "unit_price": "1"}, "true")


def _copy(connection: psycopg.Connection[Any], table: str, changed: dict[str, str], which: str) -> Any:
    """A copy of the table's first row with some columns changed; its id."""
    names = [name for (name,) in connection.execute(_COLUMNS, [table])]
    names += ["id"] if "id" in changed else []
    values = ", ".join(changed.get(name, f'"{name}"') for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    sql = f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE {which} ORDER BY id LIMIT 1 RETURNING id"
    return connection.execute(sql.encode()).fetchall()[0][0]


def hand_in(market: Market, tasks: int) -> list[tuple[float, float]]:
    """Submit tasks of one unit, a few a second; milliseconds of each reference and of each request."""
    alice, took = market.people.alice, []
    inputs = {"argv": ["/bin/true"], "memory_mib": 16, "disk_mib": 16, "expected_s": 0.005}
    for _ in range(tasks):
        before = time.perf_counter()
        alice.me()
        began = time.perf_counter()
        alice.submit(COMMAND, inputs, name="timed")
        took.append(((began - before) * 1000, (time.perf_counter() - began) * 1000))
        time.sleep(0.1)
    return took


def figures_of(asked: list[tuple[float, float]], took: list[tuple[float, float]], pools: int) -> dict[str, Any]:
    reference, requests = [one for one, _ in asked], [one for _, one in asked]
    placed, leased = sorted(p for p, _ in took), sorted(one for _, one in took)
    figures: dict[str, Any] = {"pools": pools, "tasks": len(took)}
    for name, values in (("reference", reference), ("request", requests), ("placed", placed), ("leased", leased)):
        figures |= {f"{name}_p50_ms": median(values), f"{name}_p99_ms": quantiles(values, n=100)[98]}
        say(f"  {name}: p50 {figures[f'{name}_p50_ms']:.1f} ms, p99 {figures[f'{name}_p99_ms']:.1f} ms")
    figures["ratio"] = figures["placed_p50_ms"] / figures["reference_p50_ms"]
    reached = "reached" if figures["placed_p50_ms"] < BAR_MS else "MISSED"
    placed_ms = f"placed p50 {figures['placed_p50_ms']:.1f} ms, {figures['ratio']:.1f} x the reference"
    say(f"  {pools} pools, {len(took)} tasks: {placed_ms}, bar {BAR_MS:g} ms: {reached}")
    return figures
