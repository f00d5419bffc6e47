"""The route between every two regions, as the planner reads it: one Dijkstra per region and class."""

from __future__ import annotations

from typing import Final

from scheduler.network.graph import BEST_EFFORT, BILLION, MAX_WIDENING, Graph
from scheduler.network.paths import Edges, Path, Want, prune, tree
from scheduler.network.values import Route

Pair = tuple[str, str]
# Inside a region: a metropolitan ring of about 50 km, 10 Gbit/s, nothing to pay, and no promise about its jitter.
LOCAL: Final = Route(latency_s=0.000_5, mbps=10_000.0, jitter_class=2)


def routes_of(graph: Graph, *, max_class: int = BEST_EFFORT, mbps: float = 0.0) -> dict[Pair, Route]:
    """Fastest route from every region to every other, over links of `max_class` with `mbps` free; LOCAL within one.

    A region is all of its nodes: routes start and end at whichever serves best. Pairs that nothing joins are left out.
    Where the way itself was probed end to end, and not too long ago, that measurement is the route.
    """
    edges = prune(graph.edges, Want(max_class=max_class, mbps=mbps))
    found: dict[Pair, Route] = {}
    for region, sources in graph.by_region.items():
        found |= _from(graph, edges, region, sources)
    found |= _probed(graph, Want(max_class=max_class, mbps=mbps))
    return found | {(region, region): LOCAL for region in graph.by_region if max_class >= LOCAL.jitter_class}


def routes_by_class(graph: Graph) -> dict[int, dict[Pair, Route]]:
    """`routes_of` for each jitter class, 0 (deterministic) to 3 (best effort)."""
    return {max_class: routes_of(graph, max_class=max_class) for max_class in range(BEST_EFFORT + 1)}


WIDTHS: Final = (0.9, 0.75, 0.5, 0.25)


def wide_routes(graph: Graph) -> dict[Pair, Route]:
    """Ways for bulk: for each pair the fastest among links no narrower than as many of the others as can be.

    A few milliseconds do not matter to a file of gigabytes, a narrow link does. Links narrower than a quantile (WIDTHS) of
    all are left out, the strictest first, until something joins the pair.
    """
    widths = sorted(edge.mbps for leaving in graph.edges.values() for edge in leaving)
    found: dict[Pair, Route] = {}
    for part in WIDTHS if widths else ():
        at_least = widths[min(int(part * len(widths)), len(widths) - 1)]
        found = routes_of(graph, mbps=at_least) | found
    return found


def _from(graph: Graph, edges: Edges, region: str, sources: list[str]) -> dict[Pair, Route]:
    best: dict[Pair, tuple[tuple[int, int, tuple[int, ...]], Path]] = {}
    for node, way in tree(edges, sources).items():
        target = graph.nodes[node].region
        if target is None or target == region or not way:
            continue
        path = Path(way)
        order = path.latency_ns, len(way), path.links
        if (region, target) not in best or order < best[region, target][0]:
            best[region, target] = order, path
    return {pair: route_of(path) for pair, (_, path) in best.items()}


def route_of(path: Path) -> Route:
    """A path as the planner counts it."""
    return Route(
        latency_s=path.latency_ns / BILLION,
        mbps=path.mbps,
        price_per_gb=path.price_n / BILLION,
        carbon_g_per_gb=path.carbon_n / BILLION,
        jitter_class=path.jitter_class,
        links=path.links,
    )


def _probed(graph: Graph, want: Want) -> dict[Pair, Route]:
    """Ways measured end to end; one that has widened as far as it can is no longer better than the map."""
    found: dict[Pair, Route] = {}
    for link in graph.links.values():
        a, b = graph.nodes[link.source].region, graph.nodes[link.target].region
        if not link.overlay or a is None or b is None or a == b or link.widening >= MAX_WIDENING:
            continue
        edge = link.edge()
        if want.admits(edge):
            found[a, b] = route_of(Path((edge,)))
    return found
