"""Segment lists: routers that follow them take exactly the path, on small graphs and for every pair of the real ones."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given

from scheduler.network.graph import Graph, Node
from scheduler.network.paths import Path as Way
from scheduler.network.paths import alternatives, cheapest_within, shortest, tree
from scheduler.network.segments import (
    Ambiguous,
    Igp,
    Policy,
    Segment,
    expand,
    local_commands,
    segments_of,
    steerable,
)
from tests.network.graphs import NAMES, every_path, link, real_graph, small_graphs


@given(small_graphs())
def test_the_list_of_any_path_expands_back_to_it(graph: Graph) -> None:
    igp = Igp(graph)
    for path in every_path(graph.edges, "n0", "n1"):
        assert expand(igp, "n0", segments_of(igp, path)) == path.links


@given(small_graphs(most_nodes=4, most_links=7))
def test_no_shorter_list_expands_to_the_path(graph: Graph) -> None:
    igp = Igp(graph)
    entries = [Segment("", node) for node in graph.nodes] + [Segment("", one.source, one.id) for one in graph.links.values()]
    for path in every_path(graph.edges, "n0", "n1"):
        length = len(segments_of(igp, path))
        for shorter in range(min(length - 1, 3)):
            for some in product(entries, repeat=shorter):
                assert _expanded(igp, (*some, Segment("", "n1"))) != path.links


def _expanded(igp: Igp, segments: tuple[Segment, ...]) -> tuple[int, ...] | None:
    try:
        return expand(igp, "n0", segments)
    except ValueError:
        return None


@pytest.mark.parametrize("name", NAMES)
def test_on_a_real_topology_all_pairs_expand_back(name: str) -> None:
    graph = real_graph(name)
    igp = Igp(graph)
    pairs = 0
    for source in sorted(graph.nodes):
        for target, edges in tree(graph.edges, [source]).items():
            if target == source:
                continue
            fastest = Way(edges)
            cheapest = cheapest_within(graph.edges, source, target, fastest.latency_ns * 3 // 2)
            assert cheapest is not None
            for path in (fastest, cheapest):
                assert expand(igp, source, segments_of(igp, path)) == path.links
                pairs += 1
    assert pairs == 2 * len(graph.nodes) * (len(graph.nodes) - 1)


def square() -> Graph:
    """a-b-d and a-c-d of equal length, and a slow direct link a-d; all links go one way."""
    nodes = [Node(name, locator=f"fc00:0:{i}::/48") for i, name in enumerate("abcd", 1)]
    links = [
        link(1, "a", "b", sid="fc00:0:1:1::"),
        link(2, "b", "d", sid="fc00:0:2:1::"),
        link(3, "a", "c", sid="fc00:0:1:2::"),
        link(4, "c", "d", sid="fc00:0:3:1::"),
        link(5, "a", "d", latency_p50_s=0.009, latency_p90_s=0.009, sid="fc00:0:1:3::"),
    ]
    return Graph(nodes, links)


def test_a_unique_shortest_way_needs_node_segments_only() -> None:
    graph = square()
    igp = Igp(graph)
    path = next(p for p in alternatives(graph.edges, "a", "d", 3) if p.links == (3, 4))
    assert [one.sid for one in segments_of(igp, path)] == ["fc00:0:3::e", "fc00:0:4::d"]


def test_a_way_that_routers_would_not_take_names_the_link() -> None:
    graph = square()
    path = next(p for p in alternatives(graph.edges, "a", "d", 3) if p.links == (5,))
    assert [one.sid for one in segments_of(Igp(graph), path)] == ["fc00:0:1:3::", "fc00:0:4::d"]


def test_parallel_links_of_equal_metric_are_told_apart_by_adjacency() -> None:
    nodes = [Node("a", locator="fc00:0:1::/48"), Node("b", locator="fc00:0:2::/48")]
    graph = Graph(nodes, [link(1, "a", "b", sid="fc00:0:1:1::"), link(2, "a", "b", sid="fc00:0:1:2::")])
    igp = Igp(graph)
    for path in alternatives(graph.edges, "a", "b", 2):
        assert expand(igp, "a", segments_of(igp, path)) == path.links
    with pytest.raises(Ambiguous):
        expand(igp, "a", [Segment("", "b")])


def test_a_list_deeper_than_routers_can_push_gives_way_to_the_next_path() -> None:
    graph = square()
    igp = Igp(graph)
    paths = sorted(every_path(graph.edges, "a", "d"), key=lambda p: -p.latency_ns)
    assert [len(segments_of(igp, path)) for path in paths] == [2, 2, 2]
    assert steerable(igp, paths, 1) is None
    only = shortest({"a": graph.edges["a"]}, "a", "b")
    assert only is not None
    assert steerable(igp, [paths[0], only], 1) == (only, segments_of(igp, only))


def test_the_policy_says_who_where_and_until_when_and_the_command_installs_it() -> None:
    graph = square()
    igp = Igp(graph)
    path = next(p for p in alternatives(graph.edges, "a", "d", 3) if p.links == (3, 4))
    policy = Policy(path, segments_of(igp, path), 1, valid=("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"))
    assert policy.document() == {
        "headend": "a",
        "colour": 101,
        "endpoint": "d",
        "preference": 100,
        "segments": [
            {"sid": "fc00:0:3::e", "type": "node", "node": "c", "link": None},
            {"sid": "fc00:0:4::d", "type": "node", "node": "d", "link": None},
        ],
        "validity": {"from": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z"},
    }
    assert policy.iproute2(graph) == (
        "ip -6 route replace fc00:0:4::1/128 encap seg6 mode encap segs fc00:0:3::e,fc00:0:4::d dev gf3"
    )
    assert local_commands(graph, "c") == [
        "ip -6 route replace fc00:0:3::e/128 encap seg6local action End dev gf4",
        "ip -6 route replace fc00:0:3:1::/128 encap seg6local action End.X nh6 fc00:0:3:1::b dev gf4",
    ]
    assert local_commands(graph, "d") == []
