"""Reads of the network: the graph and its routes as of now, in a constant number of statements.

One statement asks whether anything has changed; as long as nothing has, a process answers from what it built, for at
most half a minute (values age, bookings begin and end).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Any, Final

from django.utils import timezone

from marketplace.models import Pool
from scheduler.models import NetworkLink, NetworkNode
from scheduler.network.cats import Metric, declaration, level1, level2, link_metrics, normalised, pool_metrics
from scheduler.network.graph import BEST_EFFORT, Graph, Link, Node
from scheduler.network.routes import Pair, routes_of, wide_routes
from scheduler.network.values import Route
from scheduler.queries import loads_of_pools
from scheduler.sql import rows

FRESH_S: Final = 30.0

# Changes of a row move its updated_at; rows that go change the count.
_STAMP: Final = """
SELECT (SELECT (count(*), max(updated_at), sum(id))::text FROM scheduler_networknode),
       (SELECT (count(*), max(updated_at), sum(id))::text FROM scheduler_networklink),
       (SELECT (count(*), count(released_at), max(id))::text FROM scheduler_reservation)
"""
_BOOKED: Final = """
SELECT link_id, sum(mbps)::bigint FROM scheduler_reservation
WHERE released_at IS NULL AND period @> %s::timestamptz GROUP BY link_id
"""


@dataclass(slots=True)
class Network:
    """The graph at a moment, and its routes by class, made when first asked for."""

    graph: Graph
    at: datetime
    _routes: dict[int, dict[Pair, Route]] = field(default_factory=dict)
    _wide: dict[Pair, Route] | None = None

    def routes(self, max_class: int = BEST_EFFORT) -> Mapping[Pair, Route]:
        """The route from every region to every other over links of `max_class` or better."""
        if max_class not in self._routes:
            self._routes[max_class] = routes_of(self.graph, max_class=max_class)
        return self._routes[max_class]

    def wide(self) -> Mapping[Pair, Route]:
        """The route for bulk from every region to every other."""
        if self._wide is None:
            self._wide = wide_routes(self.graph)
        return self._wide


@dataclass(slots=True)
class _Kept:
    stamp: Any = None
    made: float = 0.0
    network: Network | None = None
    lock: Lock = field(default_factory=Lock)


_kept = _Kept()


def network() -> Network:
    """The network as of now: one statement, or four after a change or half a minute."""
    stamp = rows(_STAMP)[0]
    with _kept.lock:
        if _kept.network is not None and _kept.stamp == stamp and time.monotonic() - _kept.made < FRESH_S:
            return _kept.network
    found = read_network(timezone.now())
    with _kept.lock:
        _kept.stamp, _kept.made, _kept.network = stamp, time.monotonic(), found
    return found


def routes(max_class: int = BEST_EFFORT) -> Mapping[Pair, Route]:
    """What the planner reads."""
    return network().routes(max_class)


def read_network(now: datetime) -> Network:
    """The graph from the rows: three statements. What deterministic traffic and bursts have booked now is not free."""
    nodes = [
        Node(code, region, latitude, longitude, locator)
        for code, region, latitude, longitude, locator in NetworkNode.objects.order_by("code").values_list(
            "code", "region__code", "latitude", "longitude", "locator"
        )
    ]
    booked: dict[int, int] = dict(rows(_BOOKED, [now]))
    found = NetworkLink.objects.select_related("source", "target").order_by("pk")
    return Network(Graph(nodes, [link_of(row, now, booked.get(row.pk, 0)) for row in found]), now)


def link_of(row: NetworkLink, now: datetime, booked_mbps: int = 0) -> Link:
    """A row as a value; it needs its nodes."""
    return Link(
        id=row.pk,
        source=row.source.code,
        target=row.target.code,
        capacity_mbps=row.capacity_mbps,
        free_mbps=max(0.0, min(row.free_mbps, row.capacity_mbps - booked_mbps)),
        latency_p50_s=row.latency_p50_s,
        latency_p90_s=row.latency_p90_s,
        jitter_p99_s=row.jitter_p99_s,
        loss=row.loss,
        price_per_gb=float(row.price_per_gb),
        carbon_g_per_gb=row.carbon_g_per_gb,
        domain=row.domain,
        sid=row.sid,
        origin=row.origin,
        age_s=max(0.0, (now - row.measured_at).total_seconds()),
        overlay=row.overlay,
    )


def metrics(found: Network) -> dict[str, Any]:
    """The network and the regions' computing in CATS form (`network/cats.py`): two statements more. Pools are added up."""
    links = [(link, link_metrics(link)) for link in found.graph.links.values()]
    cores, used = _cores_by_region()
    regions = []
    for region in sorted(cores.keys() | found.graph.by_region.keys()):
        arriving = [one for link, some in links if found.graph.nodes[link.target].region == region for one in some]
        computing = pool_metrics(cores[region], used.get(region, 0)) if region in cores else []
        regions.append({"region": region, "level0": _documents(computing), **_scores(arriving, computing)})
    return {
        "declaration": declaration(),
        "links": [
            {"link": link.id, "source": link.source, "target": link.target, "level0": _documents(some), **_scores(some, [])}
            for link, some in links
        ],
        "regions": regions,
    }


def _documents(some: list[Metric]) -> list[dict[str, Any]]:
    return [one.document() for one in some]


def _scores(communication: list[Metric], computing: list[Metric]) -> dict[str, Any]:
    known = {"communication": level1(communication), "computing": level1(computing)}
    return {
        "level1": [normalised(kind, "L1", value) for kind, value in known.items() if value is not None],
        "level2": None if (whole := level2(known)) is None else normalised("composed", "L2", whole),
    }


def _cores_by_region() -> tuple[dict[str, int], dict[str, int]]:
    """Cores of active pools and cores held on them, by region."""
    pools = list(Pool.objects.filter(state=Pool.State.ACTIVE).values_list("pk", "region__code", "cores"))
    loads = loads_of_pools([pk for pk, _, _ in pools])
    cores: dict[str, int] = defaultdict(int)
    used: dict[str, int] = defaultdict(int)
    for pk, region, count in pools:
        cores[region] += count
        used[region] += loads[pk].cores_leased if pk in loads else 0
    return dict(cores), dict(used)
