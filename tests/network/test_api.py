"""The network's doors: what is known, paths with their policies, metrics, and bookings by operators."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from scheduler.models import NetworkLink, Reservation
from scheduler.services.network import import_topology
from tests.builders import a_pool, alice, client_of, olga
from tests.builders_network import a_link, the_provinces
from tests.network.graphs import topology

pytestmark = pytest.mark.django_db
BASE = "/api/v1/network"


def asked(path: str, client: APIClient | None = None, **query: Any) -> Any:
    answer = (client or client_of(alice())).get(f"{BASE}{path}", query)
    return answer.json() | {"status": answer.status_code}


@pytest.fixture
def chinanet() -> None:
    the_provinces()
    import_topology(topology("Chinanet"))


@pytest.mark.usefixtures("chinanet")
def test_everybody_sees_nodes_and_links_with_their_ages() -> None:
    found = asked("")
    assert (len(found["nodes"]), len(found["links"])) == (42, 132)
    assert found["links"][0].keys() >= {"age_s", "jitter_class", "latency_counted_ms", "free_mbps", "sid", "origin"}
    assert found["links"][0]["price_per_gb"] == "0"


@pytest.mark.usefixtures("chinanet")
def test_a_path_between_regions_comes_with_alternatives_a_policy_and_a_command() -> None:
    found = asked("/path", **{"from": "beijing", "to": "guangdong", "k": 3})
    assert found["path"]["nodes"][0] == "chinanet-beijing"
    assert found["path"]["nodes"][-1] == "chinanet-guangzhou"
    assert len(found["alternatives"]) == 2
    assert found["alternatives"][0]["latency_ms"] >= found["path"]["latency_ms"]
    policy = found["policy"]
    assert (policy["headend"], policy["endpoint"], policy["colour"]) == ("chinanet-beijing", "chinanet-guangzhou", 103)
    assert policy["segments"][-1]["node"] == "chinanet-guangzhou"
    assert policy["validity"]["from"] < policy["validity"]["until"]
    sids = ",".join(one["sid"] for one in policy["segments"])
    assert found["routers"].keys() == {one["node"] for one in policy["segments"][:-1]}
    assert all("action End" in command for commands in found["routers"].values() for command in commands)
    assert f"encap seg6 mode encap segs {sids} dev gf{found['path']['links'][0]}" in found["iproute2"]


def test_the_cheapest_within_a_bound_is_chosen_and_the_gap_of_the_quick_answer_named() -> None:
    slow = {"latency_p50_s": 0.020, "latency_p90_s": 0.020, "price_per_gb": "0.1"}
    quick = a_link("a", "b", latency_p50_s=0.001, latency_p90_s=0.001, price_per_gb="0.5")
    cheap = a_link("a", "b", **slow)
    within = {"from": "a", "to": "b"}
    assert asked("/path", **within, max_latency_ms=30)["path"]["links"] == [cheap.pk]
    found = asked("/path", **within, max_latency_ms=5)
    assert (found["path"]["links"], found["path"]["price_per_gb"], found["alternatives"]) == ([quick.pk], "0.5", [])
    assert found["larac_gap_per_gb"] >= 0
    assert asked("/path", **within, max_latency_ms=0.5)["code"] == "no_path"
    assert asked("/path", **within, objective="price")["path"]["links"] == [cheap.pk]


def test_a_region_is_all_its_nodes_also_for_the_cheapest_within_a_bound() -> None:
    dear = a_link("a1", "b1", regions=("hebei", "henan"), price_per_gb="0.5")
    cheap = a_link("a2", "b2", regions=("hebei", "henan"), latency_p50_s=0.01, latency_p90_s=0.01, price_per_gb="0.1")
    between = {"from": "hebei", "to": "henan"}
    assert asked("/path", **between)["path"]["links"] == [dear.pk]
    assert asked("/path", **between, max_latency_ms=20)["path"]["links"] == [cheap.pk]
    assert asked("/path", **between, max_latency_ms=5)["path"]["links"] == [dear.pk]


def test_constraints_leave_links_out() -> None:
    poor = a_link("a", "b", free_mbps=5, jitter_p99_s=0.5, loss=0.2, domain="one")
    rich = a_link("a", "b", jitter_p99_s=0.0005, domain="two", latency_p50_s=0.01, latency_p90_s=0.01)
    here = {"from": "a", "to": "b"}
    assert asked("/path", **here)["path"]["links"] == [poor.pk]
    for wish in ({"mbps": 10}, {"class": 1}, {"max_loss": 0.1}, {"domain": "two"}):
        assert asked("/path", **here, **wish, k=1)["path"]["links"] == [rich.pk], wish
    assert asked("/path", **here, **{"class": 0})["code"] == "no_path"


def test_a_path_over_nodes_without_locators_says_why_there_is_no_policy() -> None:
    a_link("a", "b")
    found = asked("/path", **{"from": "a", "to": "b"})
    assert (found["policy"], found["iproute2"]) == (None, None)
    assert found["unsteered"] == "a node on the way has no locator"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({}, 422, "invalid_input"),
        ({"from": "a"}, 422, "invalid_input"),
        ({"from": "a", "to": "nowhere"}, 404, "node_unknown"),
        ({"from": "b", "to": "a"}, 404, "no_path"),
        ({"from": "a", "to": "a"}, 404, "no_path"),
        ({"from": "a", "to": "b", "class": 4}, 422, "invalid_input"),
        ({"from": "a", "to": "b", "max_latency_ms": "nan"}, 422, "invalid_input"),
        ({"from": "a", "to": "b", "k": 99}, 422, "invalid_input"),
        ({"from": "a", "to": "b", "colour": "red"}, 422, "invalid_input"),
    ],
)
def test_questions_that_make_no_sense_are_refused(query: dict[str, Any], status: int, code: str) -> None:
    a_link("a", "b")
    found = asked("/path", **query)
    assert (found["status"], found["code"]) == (status, code)


def test_metrics_come_in_the_form_of_cats_and_name_no_pool() -> None:
    link = a_link("a", "b", regions=("hebei", "ningxia"))
    pool = a_pool()
    answer = client_of(alice()).get(f"{BASE}/metrics")
    found = answer.json()
    assert pool.identifier not in answer.content.decode()
    (one,) = found["links"]
    assert one["link"] == link.pk
    assert {m["metric_type"] for m in one["level0"]} == {"delay", "jitter", "loss", "bandwidth"}
    assert 0 <= one["level2"]["value"] <= 10
    regions = {region["region"]: region for region in found["regions"]}
    assert [m["value"] for m in regions["ningxia"]["level0"]] == [8.0, 0.0]
    assert {m["metric_type"] for m in regions["ningxia"]["level1"]} == {"communication", "computing"}
    assert regions["hebei"]["level2"] is None
    assert found["declaration"]["decisions"] == "taken on L0 only"


def test_operators_book_a_path_and_give_it_back() -> None:
    first, second = a_link("a", "b"), a_link("b", "c")
    operator = client_of(olga())
    booked = operator.post(f"{BASE}/reservations", {"from": "a", "to": "c", "mbps": 600, "seconds": 3600}, format="json")
    assert booked.status_code == 201
    assert booked.json()["links"] == [first.pk, second.pk]
    assert asked("/path", operator, **{"from": "a", "to": "c", "mbps": 500})["code"] == "no_path"
    listed = operator.get(f"{BASE}/reservations").json()["results"]
    assert {(one["link"], one["mbps"]) for one in listed} == {(first.pk, 600), (second.pk, 600)}
    number = booked.json()["booking"]
    assert operator.delete(f"{BASE}/reservations/{number}").status_code == 204
    assert operator.delete(f"{BASE}/reservations/{number}").json()["code"] == "booking_unknown"
    assert asked("/path", operator, **{"from": "a", "to": "c", "mbps": 500})["status"] == 200


def test_a_burst_of_bytes_gets_a_slot_before_its_deadline() -> None:
    link = a_link("a", "b")
    end = timezone.now() + timedelta(hours=1)
    body = {"links": [link.pk], "bytes": 10**11, "end": end.isoformat(), "kind": "burst"}
    booked = client_of(olga()).post(f"{BASE}/reservations", body, format="json").json()
    assert (booked["mbps"], booked["kind"]) == (700, "burst")
    body["bytes"] = 10**13
    refused = client_of(olga()).post(f"{BASE}/reservations", body, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "link_booked_out")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"links": []},
        {"links": [1], "mbps": 5},
        {"links": [1], "mbps": 0, "seconds": 5},
        {"links": [1], "mbps": 5, "seconds": "nan"},
        {"links": [1], "mbps": 5, "seconds": 5, "kind": "other"},
        {"links": [1], "mbps": 5, "seconds": 5, "sooner": True},
    ],
)
def test_bookings_that_make_no_sense_are_refused(body: dict[str, Any]) -> None:
    answer = client_of(olga()).post(f"{BASE}/reservations", body, format="json")
    assert answer.status_code == 422, answer.json()
    assert Reservation.objects.count() == 0


def test_the_doors_ask_no_more_for_a_larger_network(django_assert_max_num_queries: Any) -> None:
    the_provinces()
    import_topology(topology("Chinanet"))
    client = client_of(alice())
    for url in (f"{BASE}", f"{BASE}/metrics", f"{BASE}/path?from=beijing&to=hainan"):
        with django_assert_max_num_queries(10):
            assert client.get(url).status_code == 200
    assert NetworkLink.objects.count() == 132
