"""The network's page: a map, a path over it, and what is known of every link."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from console.drawing import HIGHEST, WIDTH, draw
from console.network import PAGE
from scheduler.models import NetworkLink
from scheduler.network.graph import Graph, Link, Node
from tests import builders as build
from tests.builders_network import a_link
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db


def page_of(query: str = "", person: build.Person | None = None) -> Any:
    return browser_of(person or build.alice()).get(f"/network/{query}")


def a_triangle() -> None:
    """ningxia - hub - guangdong in 4 ms and for nothing, ningxia - guangdong directly in 20 ms."""
    a_link("yinchuan", "hub", regions=("ningxia", None), price_per_gb="0.5")
    a_link("hub", "guangzhou", regions=(None, "guangdong"), price_per_gb="0.5")
    a_link("yinchuan", "guangzhou", latency_p50_s=0.02, latency_p90_s=0.03)


def test_without_links_it_says_how_they_come() -> None:
    assert "No link is known yet" in text_of(page_of())


def test_links_stand_with_latency_age_and_who_knows_it() -> None:
    old = timezone.now() - timedelta(hours=2)
    probed = {"origin": NetworkLink.Origin.PROBE, "overlay": True, "measured_at": old}
    a_link("yinchuan", "guangzhou", regions=("ningxia", "guangdong"), **probed)
    page = text_of(page_of())
    assert "2 places, 1 link" in page
    assert "yinchuan → guangzhou 2.00 / 3.00 ms" in page
    assert "probe end to end 2 h 0 min" in page
    assert "Counted as" in page


def test_what_is_old_counts_as_worse() -> None:
    link = a_link("a", "b", measured_at=timezone.now() - timedelta(days=60))
    shown = page_of().context["links"][0][1]
    assert shown["latency_counted_ms"] > link.latency_p90_s * 1e3


def test_a_path_is_found_drawn_and_told_with_its_alternatives() -> None:
    a_triangle()
    answer = page_of("?from=ningxia&to=guangdong")
    assert "yinchuan → hub → guangzhou 6.00 ms" in text_of(answer)
    assert answer.content.decode().count('<line class="operator chosen"') == 2
    assert "yinchuan → guangzhou 30.00 ms" in text_of(answer)
    assert "No segment list: a node on the way has no locator" in text_of(answer)


def test_the_cheapest_path_may_be_another() -> None:
    a_triangle()
    answer = page_of("?from=ningxia&to=guangdong&objective=price")
    assert answer.context["path"]["path"]["nodes"] == ["yinchuan", "guangzhou"]


@pytest.mark.parametrize(("query", "said"), [("?from=ningxia&to=nowhere", "nowhere is no region"), ("?from=hub&to=hub", "no path")])
def test_where_there_is_no_path_it_says_why(query: str, said: str) -> None:
    a_triangle()
    answer = page_of(query)
    assert (answer.status_code, said in text_of(answer)) == (200, True)


def test_a_place_has_its_links_only() -> None:
    a_triangle()
    assert [link.source for link, _ in page_of("?place=guangdong").context["links"]] == ["hub", "yinchuan"]
    assert "No link leaves or reaches hainan" in text_of(page_of("?place=hainan"))


def test_links_come_in_pages() -> None:
    for number in range(PAGE + 2):
        a_link("a", f"n{number}")
    first = page_of().context
    assert len(first["links"]) == PAGE
    assert len(page_of(f"?after={first['more']}").context["links"]) == 2


ODD = ["?from=%00", "?from=A B&to=<b>", "?after=x", f"?after={'9' * 30}", "?objective=love", "?place=../x"]


@pytest.mark.parametrize("query", ODD)
def test_odd_questions_are_no_fault(query: str) -> None:
    a_triangle()
    assert page_of(query).status_code in (200, 422)


def test_a_network_of_many_links_costs_as_many_statements_as_one_of_few() -> None:
    client = browser_of(build.alice())
    counts = []
    for number in (3, 30):
        for one in range(number):
            a_link(f"s{number}", f"t{number}-{one}")
        with CaptureQueriesContext(connection) as asked:
            assert client.get("/network/").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 9


def test_a_link_that_operators_changed_is_shown_anew() -> None:
    link = a_link("a", "b")
    assert "2.00 / 3.00 ms" in text_of(page_of())
    link.latency_p90_s = 0.009
    link.save()
    assert "2.00 / 9.00 ms" in text_of(page_of())


places = st.tuples(st.floats(-80, 80), st.floats(-179, 179))


@given(st.lists(places, min_size=1, max_size=30))
def test_whatever_the_places_all_is_drawn_within_the_map_and_no_name_lies_on_another(found: list[tuple[float, float]]) -> None:
    nodes = [Node(f"n{number}", None, *place) for number, place in enumerate(found)]
    links = [Link(n, "n0", f"n{n}", 100, 100.0, 0.001, 0.002) for n in range(1, len(nodes))]
    drawing = draw(Graph(nodes, links))
    assert 0 < drawing.height <= HIGHEST + 0.1
    assert all(0 <= dot.x <= WIDTH and 0 <= dot.y <= drawing.height for dot in drawing.dots)
    assert len(drawing.dots) == len(nodes)
    assert len(drawing.lines) == len(links)
    spots = [(dot.label_x, dot.label_y, dot.anchor) for dot in drawing.dots if dot.label]
    assert len(spots) == len(set(spots))
