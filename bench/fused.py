"""Placement that counts the network beside placement that looks at machines and prices alone, at equal prices.

    python -m bench fused [PERCENT]          default 85: of all cores

The markets stand on the two imported topologies (Chinanet, CERNET): a pool in every province that has a node, all of one
price and speed; links partly used by others. Units need data sets of the sizes that people train and render with, each held
in one or two of five provinces of the east, which have a fraction of the cores: most of the work has to go elsewhere. Both
plans come from the production planner, one with the network in its snapshot and one without; each is then judged by the same
clock: a file takes the route's latency plus its size over what is left of the narrowest link when all files that cross it
share it evenly. The links' budgets are left out, so that both place everything in one round.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import mean, quantiles
from typing import Any

from bench.figures import save, say
from marketplace.regions import PROVINCES
from scheduler.matching import ClassState, Plan, PoolState, Prices, Snapshot, plan
from scheduler.network.gml import read_topology
from scheduler.network.graph import Graph, Link, Node, distance_km
from scheduler.network.routes import routes_of, wide_routes
from scheduler.network.values import Route

TOPOLOGIES = Path(__file__).parents[1] / "scheduler" / "topologies"
SERVES_KM = 60.0
AT = "now"
RUN_TFLOP = 300.0
# Gigabytes as downloaded: CIFAR-10, LibriSpeech train-clean-100, COCO 2017 train images, a short film's 4K frames,
# a Landsat scene, MNIST, the Open Images validation part, ImageNet-1k train.
SIZES_GB = (0.17, 6.3, 19.3, 40.0, 1.0, 0.012, 12.0, 138.0)
EAST = ("beijing", "shanghai", "guangdong", "jiangsu", "zhejiang")
CORES = 32
BAR = 0.30


def main(sizes: list[int]) -> None:
    """Both topologies, three seeds each."""
    percent = (sizes or [85])[0]
    figures = [figures_of(name, seed, percent) for name in ("Chinanet", "Cernet") for seed in (1, 2, 3)]
    less = mean(one["less"] for one in figures)
    say(f"fused placement: arrival {less:.0%} sooner at equal price, bar {BAR:.0%}: {'reached' if less >= BAR else 'MISSED'}")
    save("fused", figures)


def figures_of(name: str, seed: int, percent: int) -> dict[str, Any]:
    """One market: mean arrival and price of both plans."""
    graph = graph_of(name, seed)
    fused = market_of(graph, seed, percent)
    blind = replace(fused, routes={}, wide={}, places={})
    told: dict[str, Any] = {"topology": name, "seed": seed}
    for label, snapshot in (("fused", fused), ("blind", blind)):
        decided = plan(snapshot)
        arrivals, price, placed = judged(decided, fused, graph)
        told[label] = {"mean_s": mean(arrivals), "p90_s": quantiles(arrivals, n=10)[8], "price": price, "units": placed}
    told["less"] = 1 - told["fused"]["mean_s"] / told["blind"]["mean_s"]
    one, other = told["fused"], told["blind"]
    say(
        f"  {name} seed {seed}: arrives after {one['mean_s']:,.0f} s, blind {other['mean_s']:,.0f} s ({told['less']:.0%} less); "
        f"P90 {one['p90_s']:,.0f} / {other['p90_s']:,.0f} s; price {one['price']:.2f} / {other['price']:.2f}; "
        f"units {one['units']} / {other['units']}"
    )
    return told


def graph_of(name: str, seed: int) -> Graph:
    """A topology with every link between a tenth and nine tenths free."""
    chance, topology = random.Random(seed), read_topology((TOPOLOGIES / f"{name}.gml").read_text())
    nodes = [Node(one.code, province_at(one.place), *one.place, one.locator) for one in topology.nodes]
    links = [
        Link(n, one.source, one.target, one.mbps, one.mbps * chance.uniform(0.1, 0.9), one.latency_p50_s, one.latency_p90_s)
        for n, one in enumerate(topology.links, 1)
    ]
    return Graph(nodes, links)


def province_at(place: tuple[float, float]) -> str | None:
    """The province whose capital is there."""
    near = min((distance_km(place, (float(p.latitude), float(p.longitude))), p.code) for p in PROVINCES)
    return near[1] if near[0] <= SERVES_KM else None


def market_of(graph: Graph, seed: int, percent: int) -> Snapshot:
    """A pool in every region, one price; classes of a few units, each with a data set held in the east."""
    chance, regions = random.Random(seed), sorted(graph.by_region)
    pools = [
        PoolState(n, f"pool-{n:03d}", region, f"owner-{n}", "x86_64", CORES, 131_072, 10**6, (), ("sandbox",), 16_000_000, 25_000)
        for n, region in enumerate(regions, 1)
    ]
    east = [region for region in regions if region in EAST]
    classes: list[ClassState] = []
    places: dict[str, tuple[str, ...]] = {}
    left = len(pools) * CORES * percent // 100
    while left > 0:
        number, count = len(classes) + 1, min(chance.randint(2, 8), left)
        places[f"data-{number}"] = tuple(sorted(chance.sample(east, chance.choice([1, 2]))))
        classes.append(ClassState(number, need_of(f"data-{number}", int(chance.choice(SIZES_GB) * 1e9)), count))
        left -= count
    snapshot = Snapshot(classes, pools, {(pool.id, AT): Prices(pool.id, {"core_second": 3e-5}) for pool in pools})
    return replace(snapshot, routes=routes_of(graph), wide=wide_routes(graph), places=places)


def need_of(sha: str, size: int) -> dict[str, Any]:
    """An hour or so of work on one core, in a hurry worth a yuan an hour."""
    need = {"cores": 1, "memory_mib": 1024, "disk_mib": 1024, "accelerators": []}
    return {
        "version": 1, "stage": 0, "need": need, "variants": [{"instruction_set": "any", "accelerator": None}],
        "tflop": str(RUN_TFLOP), "run_s": 36_000, "bytes_in": size, "organization": "acme", "trusted": True,
        "objective": "balanced", "regions": [], "providers": [], "exclude_providers": [], "cap": None, "fee": "0",
        "offers_at": AT, "inputs": [[sha, size]],
    }  # fmt: skip


def judged(decided: Plan, truth: Snapshot, graph: Graph) -> tuple[list[float], float, int]:
    """Seconds until each placed unit is over, what they cost together, and how many were placed."""
    needs = {one.need_id: one.document for one in truth.classes}
    pools = {pool.id: pool for pool in truth.pools}
    moves, crossing = [], Counter[int]()
    for placement in (p for decision in decided.decisions for p in decision.placements):
        pool, doc = pools[placement.pool_id], needs[placement.need_id]
        ((sha, size),) = doc["inputs"]
        route = best_route(truth, truth.places[sha], pool.region, size)
        crossing.update(dict.fromkeys(route.links if route else (), placement.units))
        moves.append((placement.units, pool, doc, route, size))
    arrivals, price = [], 0.0
    for units, pool, doc, route, size in moves:
        run_s = float(doc["tflop"]) / (pool.mflops / 1e6 / pool.cores)
        arrivals += [moved_s(route, size, crossing, graph) + run_s] * units
        price += units * run_s * 3e-5
    return arrivals, price, len(arrivals)


def best_route(truth: Snapshot, places: tuple[str, ...], region: str, size: float) -> Route | None:
    """The way on which it arrives first, if it has to move at all."""
    if region in places:
        return None
    ways = [table[place, region] for table in (truth.routes, truth.wide) for place in places if (place, region) in table]
    return min(ways, key=lambda way: way.latency_s + size * 8 / (way.mbps * 1e6), default=None)


def moved_s(route: Route | None, size: float, crossing: Counter[int], graph: Graph) -> float:
    """A file's time when all that cross a link share it evenly."""
    if route is None:
        return 0.0
    narrowest = min(graph.links[link].free_mbps / crossing[link] for link in route.links)
    return route.latency_s + size * 8 / (narrowest * 1e6)
