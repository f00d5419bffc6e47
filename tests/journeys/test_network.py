"""Real agents probe the way to the platform's store. All run on one machine, so each claims what no fibre can do."""

from __future__ import annotations

from typing import Any

from .market import Market

# Great circles of 894 and 1,735 km to Beijing, each end 150 km nearer, at light's pace in glass.
LEAST_MS = {"region-ningxia": 2.8, "region-guizhou": 6.9}


def probed(market: Market) -> dict[str, Any]:
    """The ways that were measured end to end, by where they begin."""
    return {link["source"]: link for link in market.alice.network()["links"] if link["overlay"]}


def test_agents_measure_the_way_to_the_store_and_nobody_is_believed_to_be_faster_than_light(market: Market) -> None:
    market.stack.wait(lambda: LEAST_MS.keys() <= probed(market).keys(), "nothing is measured", "agent-ningxia", 60)
    for source, least_ms in LEAST_MS.items():
        link = probed(market)[source]
        assert (link["target"], link["origin"]) == ("region-beijing", "probe")
        assert link["latency_p50_ms"] >= least_ms
        assert 0 < link["free_mbps"] <= 1000
    flags = market.stack.rows("SELECT flags FROM scheduler_probe")
    assert all("faster_than_light" in row["flags"] for row in flags)
