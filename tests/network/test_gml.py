"""Topology files: the real ones are read whole, and every hole is either filled with a note or refused with its line."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from scheduler.network.gml import Defaults, read_topology
from scheduler.network.graph import distance_km
from tests.network.graphs import NAMES, TOPOLOGIES, topology

A = 'node [ id 0 label "Aa" Latitude 30 Longitude 100 ]'
B = 'node [ id 1 label "Bb" Latitude 31 Longitude 101 ]'


def graph(*parts: str, name: str = "Test") -> str:
    return "\n".join([f'graph [ label "{name}"', *parts, "]"])


@pytest.mark.parametrize(("name", "nodes", "edges"), [("Chinanet", 42, 66), ("Cernet", 41, 59)])
def test_the_real_topologies_are_read_whole(name: str, nodes: int, edges: int) -> None:
    found = topology(name)
    assert (len(found.nodes), len(found.links)) == (nodes, 2 * edges)
    assert len({one.code for one in found.nodes}) == nodes
    assert len({one.locator for one in found.nodes}) == nodes
    assert len({one.sid for one in found.links}) == 2 * edges


@pytest.mark.parametrize("name", NAMES)
def test_their_gateways_without_a_place_lie_amid_their_neighbours_and_say_so(name: str) -> None:
    found = topology(name)
    assert sum("amid its neighbours" in note for note in found.notes) == 4
    assert all(15 < one.place[0] < 55 and 70 < one.place[1] < 140 for one in found.nodes)


def test_hong_kong_is_put_where_it_is() -> None:
    found = topology("Chinanet")
    place = next(one.place for one in found.nodes if one.name == "Hong Kong")
    assert distance_km(place, (22.3193, 114.1694)) < 1
    assert any("Hong Kong" in note for note in found.notes)


def test_speeds_come_from_the_file_and_a_missing_one_is_noted() -> None:
    assert {one.mbps for one in topology("Cernet").links} == {2, 155, 2500, 10_000}
    assert any("6 of 59 edges have no speed" in note for note in topology("Cernet").notes)
    assert {one.mbps for one in topology("Chinanet").links} == {10_000}


def test_delay_is_that_of_light_in_fibre_with_a_detour() -> None:
    found = read_topology(graph(A, B, "edge [ source 0 target 1 ]"))
    km = distance_km((30, 100), (31, 101))
    assert found.links[0].latency_p50_s == pytest.approx(km * 1.3 * 5e-6 + 50e-6)
    assert found.links[0].latency_p90_s > found.links[0].latency_p50_s


def test_two_nodes_of_one_name_get_different_codes() -> None:
    codes = [one.code for one in topology("Cernet").nodes if one.name == "Shijiazhuang"]
    assert codes == ["cernet-shijiazhuang-12", "cernet-shijiazhuang-22"]


def test_a_directed_graph_has_one_link_for_each_edge() -> None:
    assert len(read_topology(graph("directed 1", A, B, "edge [ source 0 target 1 ]")).links) == 1


def test_an_edge_to_itself_is_left_out_with_a_note() -> None:
    found = read_topology(graph(A, B, "edge [ source 1 target 1 ]"))
    assert found.links == ()
    assert found.notes == ("Bb: an edge to itself is left out",)


def test_a_node_alone_without_a_place_is_put_at_the_default() -> None:
    found = read_topology(graph('node [ id 7 label "Lost" ]'), defaults=Defaults(place=(1.0, 2.0)))
    assert found.nodes[0].place == (1.0, 2.0)
    assert "at the default" in found.notes[0]


def test_zero_zero_is_a_missing_place_not_an_island() -> None:
    found = read_topology(graph(A, 'node [ id 1 label "Z" Latitude 0 Longitude 0.0 ]', "edge [ source 0 target 1 ]"))
    assert found.nodes[1].place == (30.0, 100.0)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "one graph"),
        ("graph 5", "graph is a block"),
        (graph(), "no nodes"),
        (graph(A, A), "line 3: node 0 appears twice"),
        (graph('node [ label "x" ]'), "line 2: a node has no whole number as its id"),
        (graph(A, "edge [ source 0 target 9 ]"), "line 3: an edge leads to node 9"),
        (graph(A, "edge [ source 0 ]"), "line 3: an edge leads to node None"),
        (graph("node [ id 0 Latitude 95 Longitude 1 ]"), "line 2: 95, 1 is no place on earth"),
        (graph('node [ id 0 Latitude "north" Longitude 1 ]'), "line 2: latitude and longitude are numbers"),
        (graph(A, B, "edge [ source 0 target 1 LinkSpeedRaw -5 ]"), "line 4: a link speed of -5"),
        (graph(A, B, "edge [ source 0 target 1 LinkSpeedRaw 1e999 ]"), "line 4: a link speed of inf"),
        ("graph [\n" + A, "the block that opened at line 1: is it cut?"),
        ("graph [\n node [ id", "id has no value: is the file cut?"),
        ('graph [\n label "x', "line 2: a text without its closing quote"),
        ("graph [ a b ]", "a is 'b', neither a number nor a text"),
        ("graph [ 1 2 ]", "a name is expected, not '1'"),
        ("]", "closes nothing"),
        ("graph " + "[ a " * 50, "nested too deep"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, word: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_topology(text)
    assert refused.value.code == "invalid_topology"
    assert word in refused.value.detail


@pytest.mark.parametrize("name", NAMES)
@given(cut=st.integers(0, 10_000))
def test_a_file_that_is_cut_anywhere_is_refused(name: str, cut: int) -> None:
    text = (TOPOLOGIES / f"{name}.gml").read_text().rstrip()
    with pytest.raises(Invalid):
        read_topology(text[: min(cut, len(text) - 1)])


@given(st.text(alphabet='[]"#\n abn01.-', max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    with suppress(Invalid):
        read_topology(text)
