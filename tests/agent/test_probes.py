"""The agent measures what the platform asks for, no more, and lives without it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from gridfare.agent import probes
from gridfare.agent.probes import LEAST_INTERVAL_S, MOST_BYTES, orders_of

from .conftest import Join
from .platform import Platform, spec


def orders(platform: Platform, *endpoints: tuple[str, str], size: int = 50_000) -> None:
    listed = [{"region": region, "url": url} for region, url in endpoints]
    platform.probe_orders = {"interval_s": 600, "bytes": size, "endpoints": listed}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "FIRST_WITHIN_S", 0.0)


def a_closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_the_platforms_own_door_and_one_elsewhere_are_measured(join: Join, platform: Platform) -> None:
    orders(platform, ("beijing", "/agent/v1/probe"), ("hebei", f"{platform.url}/elsewhere"))
    join().start()
    platform.until(lambda: len(platform.probes) == 2)
    assert [one["region"] for one in platform.probes] == ["beijing", "hebei"]
    for one in platform.probes:
        assert (one["bytes"], one["tries"], len(one["rtt_us"])) == (50_000, 10, 10)
        assert all(isinstance(number, int) and number > 0 for number in [*one["rtt_us"], one["transfer_us"]])
    assert ("GET", "/elsewhere") in platform.requests


def test_it_asks_once_and_says_nothing_until_it_has_measured(join: Join, platform: Platform) -> None:
    orders(platform, ("beijing", "/agent/v1/probe"))
    join().start()
    platform.until(lambda: platform.probes and len(platform.syncs) > 5)
    said = [sync["probes"] for sync in platform.syncs if "probes" in sync]
    assert [len(words) for words in said] == [0, 1]


def test_what_does_not_answer_is_left_out_and_work_goes_on(join: Join, platform: Platform) -> None:
    nobody = f"http://127.0.0.1:{a_closed_port()}/x"
    orders(platform, ("hebei", nobody), ("henan", "ftp://odd"), ("hunan", "::"), ("beijing", "/agent/v1/probe"))
    machine = join().start()
    platform.until(lambda: platform.probes)
    assert [one["region"] for one in platform.probes] == ["beijing"]
    (attempt,) = platform.offer(spec(["true"]))
    assert platform.report_of(attempt)["outcome"] == "done"
    assert machine.loop is not None


@pytest.mark.parametrize("odd", [None, [], {"endpoints": 5}, {"endpoints": [{}], "bytes": 1, "interval_s": 1}])
def test_a_platform_without_orders_or_with_odd_ones_does_not_disturb_it(join: Join, platform: Platform, odd: Any) -> None:
    platform.probe_orders = odd
    join().start()
    (attempt,) = platform.offer(spec(["true"]))
    assert platform.report_of(attempt)["outcome"] == "done"
    assert platform.probes == []


def test_orders_are_bounded_whatever_the_platform_says() -> None:
    found = orders_of({"endpoints": [{"region": "x", "url": "/y"}] * 99, "bytes": 10**12, "interval_s": 0})
    assert found is not None
    assert (len(found.endpoints), found.bytes, found.interval_s) == (16, MOST_BYTES, LEAST_INTERVAL_S)
    assert orders_of({"endpoints": [], "bytes": float("inf"), "interval_s": 1}) is None


def test_a_lying_agent_claims_a_quicker_network(join: Join, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFARE_CHAOS", "quicken_probes=1000000")
    orders(platform, ("beijing", "/agent/v1/probe"))
    join().start()
    platform.until(lambda: platform.probes)
    assert set(platform.probes[0]["rtt_us"]) == {1}
    assert platform.probes[0]["transfer_us"] == 1
