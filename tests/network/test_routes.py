"""The routes that the planner reads: every pair at once, by class, quickly."""

from __future__ import annotations

import time

import pytest

from scheduler.network.graph import HOUR_S, Graph, Node
from scheduler.network.paths import shortest
from scheduler.network.routes import LOCAL, routes_by_class, routes_of
from tests.network.graphs import NAMES, link, real_graph


@pytest.mark.parametrize("name", NAMES)
def test_every_pair_of_a_real_topology_has_its_fastest_route(name: str) -> None:
    graph = real_graph(name)
    routes = routes_of(graph)
    assert len(routes) == len(graph.nodes) ** 2
    for (a, b), route in list(routes.items())[::17]:
        if a == b:
            assert route is LOCAL
            continue
        path = shortest(graph.edges, a, b)
        assert path is not None
        assert route.links == path.links
        assert route.latency_s == pytest.approx(path.latency_ns / 1e9)


def test_routes_of_chinanet_take_well_under_a_tenth_of_a_second() -> None:
    graph = real_graph("Chinanet")
    took = []
    for _ in range(3):
        fresh = Graph(graph.nodes.values(), graph.links.values())
        began = time.perf_counter()
        routes_of(fresh)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1


def two_regions(*links: object) -> Graph:
    nodes = [Node("a1", "a"), Node("a2", "a"), Node("b1", "b"), Node("m")]
    return Graph(nodes, links)


def test_a_region_is_all_its_nodes() -> None:
    graph = two_regions(link(1, "a1", "m"), link(2, "m", "b1"), link(3, "a2", "b1"))
    assert routes_of(graph)["a", "b"].links == (3,)


def test_a_class_leaves_out_links_that_cannot_promise_it() -> None:
    graph = two_regions(link(1, "a1", "b1", jitter_p99_s=0.000_5, latency_p50_s=0.002, latency_p90_s=0.002), link(2, "a1", "b1"))
    by_class = routes_by_class(graph)
    assert ("a", "b") not in by_class[0]
    assert by_class[1]["a", "b"].links == (1,)
    assert by_class[2]["a", "b"].links == by_class[3]["a", "b"].links == (2,)
    assert by_class[3]["a", "a"] == LOCAL
    assert ("b", "a") not in by_class[3]


def test_a_way_measured_end_to_end_is_the_route_until_it_is_too_old() -> None:
    def graph(age_s: float) -> Graph:
        slow = {"latency_p50_s": 0.030, "latency_p90_s": 0.030}
        return two_regions(link(1, "a1", "b1"), link(2, "a1", "b1", overlay=True, origin="probe", age_s=age_s, **slow))

    assert routes_of(graph(0))["a", "b"].links == (2,)
    assert routes_of(graph(0))["a", "b"].latency_s == pytest.approx(0.030)
    assert routes_of(graph(HOUR_S))["a", "b"].latency_s == pytest.approx(0.030 * 1.292, rel=0.001)
    assert routes_of(graph(1000 * HOUR_S))["a", "b"].links == (1,)


def test_no_path_leads_over_a_way_that_was_only_probed() -> None:
    nodes = [Node("a", "a"), Node("b", "b"), Node("c", "c")]
    graph = Graph(nodes, [link(1, "a", "b", overlay=True), link(2, "b", "c")])
    assert ("a", "c") not in routes_of(graph)
    assert ("a", "b") in routes_of(graph)
