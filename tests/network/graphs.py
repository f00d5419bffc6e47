"""Small random graphs, the two real ones, and the plain ways to find what the algorithms find."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path as File

from hypothesis import strategies as st

from scheduler.network.gml import Topology, read_topology
from scheduler.network.graph import Edge, Graph, Link, Node
from scheduler.network.paths import Edges, Path

TOPOLOGIES = File(__file__).parents[2] / "scheduler" / "topologies"
NAMES = ("Chinanet", "Cernet")


def link(number: int, source: str, target: str, **fields: object) -> Link:
    values = {"capacity_mbps": 1000, "free_mbps": 1000.0, "latency_p50_s": 0.001, "latency_p90_s": 0.001}
    return Link(id=number, source=source, target=target, **{**values, **fields})


@st.composite
def small_graphs(draw: st.DrawFn, *, most_nodes: int = 6, most_links: int = 12) -> Graph:
    """Up to six nodes; small weights, so that ties are common; parallel links and loops happen."""
    size = draw(st.integers(2, most_nodes))
    names = [f"n{i}" for i in range(size)]
    ends = st.tuples(st.sampled_from(names), st.sampled_from(names), st.integers(1, 4), st.integers(0, 4))
    drawn = draw(st.lists(ends, max_size=most_links))
    links = [
        link(
            number, a, b, latency_p50_s=ms / 1000, latency_p90_s=ms / 1000, price_per_gb=float(price), sid=f"fc00:0:{number:x}:1::"
        )
        for number, (a, b, ms, price) in enumerate(drawn, 1)
    ]
    return Graph([Node(name, locator=f"fc00:1:{i + 1:x}::/48") for i, name in enumerate(names)], links)


def every_path(edges: Edges, source: str, target: str) -> Iterator[Path]:
    """All paths without loops, by trying everything."""
    waiting: list[tuple[str, tuple[Edge, ...]]] = [(source, ())]
    while waiting:
        node, so_far = waiting.pop()
        if node == target and so_far:
            yield Path(so_far)
            continue
        seen = {source, *(edge.target for edge in so_far)}
        waiting += [(e.target, (*so_far, e)) for e in edges.get(node, ()) if e.target not in seen]


@cache
def topology(name: str) -> Topology:
    return read_topology((TOPOLOGIES / f"{name}.gml").read_text(), repairs=repairs())


@cache
def repairs() -> dict[str, dict[str, tuple[float, float]]]:
    return json.loads((TOPOLOGIES / "repairs.json").read_text())


@cache
def real_graph(name: str) -> Graph:
    """A real topology; each node is a region of its own."""
    found = topology(name)
    nodes = [Node(one.code, one.code, *one.place, one.locator) for one in found.nodes]
    links = [
        link(
            number,
            one.source,
            one.target,
            capacity_mbps=one.mbps,
            free_mbps=float(one.mbps),
            latency_p50_s=one.latency_p50_s,
            latency_p90_s=one.latency_p90_s,
            price_per_gb=(number * 7919 % 13) / 100,  # some prices, so that cheap is not fast
            sid=one.sid,
            domain=found.name,
        )
        for number, one in enumerate(found.links, 1)
    ]
    return Graph(nodes, links)
