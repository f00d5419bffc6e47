"""`gridfare network ...` against the platform itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scheduler.models import NetworkNode, Reservation
from tests.builders import a_pool, olga
from tests.builders_network import a_link
from tests.command_line import Say, speaker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def say(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> Say:
    return speaker(live_server, monkeypatch, "network")


def test_links_nodes_paths_and_metrics_are_shown_and_printed_as_json(say: Say) -> None:
    first = a_link("here", "there", regions=("hebei", "henan"), price_per_gb="0.25")
    a_pool(region="henan")
    done = say("links")
    assert (done.exit_code, "0.25" in done.stdout, "operator" in done.stdout) == (0, True, True)
    assert json.loads(say("links", "--json").stdout)[0]["id"] == first.pk
    assert json.loads(say("links", "--domain", "none", "--json").stdout) == []
    assert "hebei" in say("nodes").stdout
    done = say("path", "hebei", "henan", "--class", "3", "--max-latency-ms", "50")
    assert "here → there" in done.stdout
    assert "a node on the way has no locator" in done.stdout
    assert json.loads(say("path", "hebei", "henan", "--json").stdout)["path"]["links"] == [first.pk]
    assert "henan" in say("metrics").stdout
    assert json.loads(say("metrics", "--json").stdout)["declaration"]["window_s"] == 10


def test_a_path_with_locators_prints_the_command_that_installs_it(say: Say) -> None:
    a_link("here", "there", sid="fc00:0:1:1::")
    for node, number in (("here", 1), ("there", 2)):
        NetworkNode.objects.filter(code=node).update(locator=f"fc00:0:{number}::/48")
    done = say("path", "here", "there")
    assert "ip -6 route replace fc00:0:2::1/128 encap seg6 mode encap segs fc00:0:2::d dev gf" in done.stdout


def test_operators_book_list_and_release(say: Say) -> None:
    link = a_link("here", "there")
    booked = json.loads(
        say("reserve", "--from", "here", "--to", "there", "--mbps", "5", "--seconds", "60", "--json", by=olga()).stdout
    )
    assert booked["links"] == [link.pk]
    assert booked["booking"] in say("reservations", by=olga()).stdout
    assert say("release", booked["booking"], by=olga()).exit_code == 0
    assert Reservation.objects.get().released_at is not None
    assert say("release", booked["booking"], by=olga()).exit_code == 4
    assert "nothing is booked" in say("reservations", by=olga()).stdout
    done = say(
        "reserve", "--link", str(link.pk), "--bytes", "1000000", "--end", "2999-01-01T00:00:00Z", "--kind", "burst", by=olga()
    )
    assert "700 Mbit/s, burst" in done.stdout


def test_others_book_nothing_and_what_is_not_there_is_said(say: Say) -> None:
    link = a_link("here", "there")
    assert say("reserve", "--link", str(link.pk), "--mbps", "5", "--seconds", "60").exit_code == 3
    assert say("path", "here", "nowhere").exit_code == 4
    assert say("path", "here", "there", "--class", "9").exit_code == 2
