"""Paths against trying everything, on small graphs with many ties, and on the two real topologies."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.network.graph import Graph, Node
from scheduler.network.paths import (
    Want,
    alternatives,
    by_latency,
    by_price,
    cheapest_within,
    larac,
    order_of,
    prune,
    shortest,
    tree,
)
from tests.network.graphs import NAMES, every_path, link, real_graph, small_graphs

weights = st.sampled_from([by_latency, by_price])


@given(small_graphs(), weights)
def test_the_shortest_path_is_the_best_of_all_paths(graph: Graph, weight: object) -> None:
    found = shortest(graph.edges, "n0", "n1", weight)
    best = min(every_path(graph.edges, "n0", "n1"), key=lambda p: order_of(p, weight), default=None)
    assert found == best


@given(small_graphs(), st.integers(1, 12), weights)
def test_the_alternatives_are_the_k_best_of_all_paths_in_their_order(graph: Graph, k: int, weight: object) -> None:
    expected = sorted(every_path(graph.edges, "n0", "n1"), key=lambda p: order_of(p, weight))[:k]
    assert alternatives(graph.edges, "n0", "n1", k, weight) == expected


@given(small_graphs(), st.integers(1, 12))
def test_the_cheapest_in_time_is_the_cheapest_of_all_that_are_in_time(graph: Graph, bound_ms: int) -> None:
    bound = bound_ms * 1_000_000
    in_time = [path for path in every_path(graph.edges, "n0", "n1") if path.latency_ns <= bound]
    best = min(in_time, key=lambda p: (p.price_n, p.latency_ns, len(p.links), p.links), default=None)
    assert cheapest_within(graph.edges, "n0", "n1", bound) == best


@given(small_graphs(), st.integers(1, 12))
def test_larac_is_in_time_and_its_bound_is_below_the_optimum(graph: Graph, bound_ms: int) -> None:
    bound = bound_ms * 1_000_000
    exact, quick = cheapest_within(graph.edges, "n0", "n1", bound), larac(graph.edges, "n0", "n1", bound)
    assert (exact is None) == (quick is None)
    if exact is not None and quick is not None:
        assert quick.path.latency_ns <= bound
        assert quick.lower_n <= exact.price_n <= quick.path.price_n
        assert quick.path.price_n - exact.price_n <= quick.gap_n


@given(small_graphs(), st.integers(1, 11))
def test_more_time_is_never_dearer(graph: Graph, bound_ms: int) -> None:
    less, more = (cheapest_within(graph.edges, "n0", "n1", ms * 1_000_000) for ms in (bound_ms, bound_ms + 1))
    assert less is None or (more is not None and more.price_n <= less.price_n)


@given(small_graphs(), st.permutations(range(12)))
def test_the_order_of_links_in_the_list_does_not_matter(graph: Graph, order: list[int]) -> None:
    links = list(graph.links.values())
    shuffled = Graph(graph.nodes.values(), [links[i] for i in order if i < len(links)])
    assert alternatives(graph.edges, "n0", "n1", 4) == alternatives(shuffled.edges, "n0", "n1", 4)


def test_of_equal_ways_that_with_the_smaller_link_ids_is_taken() -> None:
    nodes = [Node(name) for name in "abcd"]
    graph = Graph(nodes, [link(9, "a", "b"), link(2, "b", "d"), link(3, "a", "c"), link(8, "c", "d"), link(4, "a", "c")])
    assert [path.links for path in alternatives(graph.edges, "a", "d", 5)] == [(3, 8), (4, 8), (9, 2)]


def test_pruning_leaves_what_satisfies_class_bandwidth_loss_and_domain() -> None:
    nodes = [Node("a"), Node("b")]
    links = [
        link(1, "a", "b", jitter_p99_s=0.000_01, domain="x"),
        link(2, "a", "b", free_mbps=10.0, domain="x"),
        link(3, "a", "b", loss=0.5, domain="x"),
        link(4, "a", "b", domain="y"),
    ]
    edges = Graph(nodes, links).edges

    def left(**wish: object) -> list[int]:
        return [edge.link for edge in prune(edges, Want(**wish))["a"]]

    assert left() == [1, 2, 3, 4]
    assert left(max_class=0) == [1]
    assert left(mbps=100) == [1, 3, 4]
    assert left(max_loss=0.1) == [1, 2, 4]
    assert left(domains=frozenset({"y"})) == [4]


def test_a_path_adds_latency_price_and_jitter_and_takes_the_least_bandwidth_and_the_worst_class() -> None:
    nodes = [Node("a"), Node("b"), Node("c")]
    first = link(1, "a", "b", free_mbps=50.0, jitter_p99_s=0.000_01, price_per_gb=0.25, loss=0.1, carbon_g_per_gb=2.0)
    second = link(2, "b", "c", free_mbps=80.0, jitter_p99_s=0.002, price_per_gb=0.5, loss=0.1, carbon_g_per_gb=3.0)
    path = shortest(Graph(nodes, [first, second]).edges, "a", "c")
    assert path is not None
    assert path.nodes == ("a", "b", "c")
    assert (path.latency_ns, path.price_n, path.carbon_n) == (2_000_000, 750_000_000, 5_000_000_000)
    assert (path.mbps, path.jitter_class) == (50.0, 2)
    assert path.jitter_s == pytest.approx(0.002_01)
    assert path.loss == pytest.approx(0.19)


def test_nobody_reaches_what_no_link_leads_to() -> None:
    graph = Graph([Node("a"), Node("b")], [link(1, "b", "a"), link(2, "a", "a")])
    assert shortest(graph.edges, "a", "b") is None
    assert cheapest_within(graph.edges, "a", "b", 10**12) is None
    assert larac(graph.edges, "a", "b", 10**12) is None
    assert alternatives(graph.edges, "a", "b", 3) == []
    assert shortest(graph.edges, "a", "a") is None


@pytest.mark.parametrize("name", NAMES)
def test_on_a_real_topology_the_searches_agree_for_every_pair(name: str) -> None:
    edges = real_graph(name).edges
    nodes = sorted(edges)
    for source in nodes:
        fastest = tree(edges, [source])
        assert len(fastest) == len(nodes)
        for target in nodes[::5]:
            if target == source:
                continue
            quickest = sum(edge.latency_ns for edge in fastest[target])
            bound = quickest * 5 // 4
            exact, quick = cheapest_within(edges, source, target, bound), larac(edges, source, target, bound)
            assert exact is not None
            assert quick is not None
            assert quickest <= exact.latency_ns <= bound
            assert quick.lower_n <= exact.price_n <= quick.path.price_n
            assert cheapest_within(edges, source, target, quickest - 1) is None


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(data=st.data())
def test_on_a_real_topology_alternatives_are_different_loopless_and_in_order(name: str, data: st.DataObject) -> None:
    edges = real_graph(name).edges
    source, target = data.draw(st.sampled_from(list(combinations(sorted(edges), 2))))
    paths = alternatives(edges, source, target, 4)
    assert len({path.links for path in paths}) == len(paths)
    assert all(len(set(path.nodes)) == len(path.nodes) for path in paths)
    orders = [order_of(path, by_latency) for path in paths]
    assert orders == sorted(orders)
