"""Which ways a round needs to know, and what their links still carry. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from scheduler.matching.market import Market
from scheduler.matching.transfer import way_in
from scheduler.matching.values import Snapshot
from scheduler.network.values import Route

AHEAD_S: Final = 60.0  # a round may fill links for this long


def ends_of(snapshot: Snapshot) -> set[str]:
    """Regions from which data come or to which they go: places of inputs, the store, and where users are."""
    ends = {region for regions in snapshot.places.values() for region in regions}
    for one in snapshot.classes:
        doc = one.document
        ends |= {doc["store"]} if doc.get("store") else set()
        ends |= {doc["network"]["from"]} if doc.get("network") else set()
    return ends


def levels_of(snapshot: Snapshot) -> set[int]:
    """The classes of jitter that somebody asks for."""
    return {int(one.document["network"]["jitter_class"]) for one in snapshot.classes if one.document.get("network")}


def between(routes: Mapping[tuple[str, str], Route], ends: set[str], snapshot: Snapshot) -> dict[tuple[str, str], Route]:
    """The routes between those ends and the pools' regions, both ways."""
    pools = {pool.region for pool in snapshot.pools}
    wanted = {(one, other) for end in ends for region in pools for one, other in ((end, region), (region, end))}
    return {pair: routes[pair] for pair in sorted(wanted) if pair in routes}


def carries(snapshot: Snapshot, free_mbps: Mapping[int, float]) -> dict[int, float]:
    """Bytes that each link on these routes moves in AHEAD_S when nothing else is on its way."""
    links = {link for ways in (snapshot.routes, snapshot.wide) for route in ways.values() for link in route.links}
    return {link: free_mbps[link] * 1e6 / 8 * AHEAD_S for link in sorted(links) if link in free_mbps}


def slack_of(snapshot: Snapshot, moving: Sequence[tuple[int, Mapping[str, Any], int]]) -> dict[int, float]:
    """Bytes that each link may still be given: what it carries, less what is on its way.

    moving  (pool, need document, units) whose inputs have not arrived yet
    """
    slack, market = dict(snapshot.carries), Market(snapshot)
    for pool, document, units in moving:
        row = market.row.get(pool)
        if row is None or not slack:
            continue
        for link, size in way_in(document, market).links.get(market.pools[row].region, {}).items():
            if link in slack:
                slack[link] -= min(size, snapshot.carries[link]) * units
    return {link: max(left, 0.0) for link, left in slack.items()}
