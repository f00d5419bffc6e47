"""The network as a directed multigraph: nodes, links as measured, and edges as the planner counts them.

Old values widen. Between measurements the logarithm of a link's latency is taken for a random walk (the local level
model of state-space forecasting, Harvey 1989: without news the variance grows linearly with time), on top of the spread
that was measured, a log-normal one given by P50 and P90:

    sigma0 = ln(P90 / P50) / z90             z90 = 1.2816, the 90 % quantile of the standard normal
    P90(age) = P50 * exp(z90 * sqrt(sigma0^2 + drift * age)),  at most MAX_WIDENING * P90

It is P90 when fresh, never falls with age and never becomes zero. The same ratio P90(age) / P90 divides the free
bandwidth and multiplies jitter and loss. `drift` is slow for what is stated (a fibre's length does not change) and
quick for what was probed (a load does). Exact sums make ties exact: edges count in whole nanoseconds and billionths.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")
Z90: Final = 1.2815515655446004
MAX_WIDENING: Final = 3.0
HOUR_S, MONTH_S = 3600.0, 30 * 86_400.0
# Variance of the log that an old value gains per second: after one hour (one month) a value widens by 29 %.
DRIFT: Final[Mapping[str, float]] = {"probe": 0.04 / HOUR_S, "operator": 0.04 / MONTH_S, "imported": 0.04 / MONTH_S}
JITTER_BOUNDS_S: Final = (20e-6, 1e-3, 10e-3)  # J0 deterministic, J1, J2; above: J3 best effort
BEST_EFFORT: Final = len(JITTER_BOUNDS_S)
BILLION: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Node:
    """A site, a point of presence, or a region's gateway.

    code     unique
    region   the region it serves, or None where it only passes traffic on
    locator  its SRv6 locator, an IPv6 /48 like `fc00:0:7::/48`; "" without
    """

    code: str
    region: str | None = None
    latitude: float = 0.0
    longitude: float = 0.0
    locator: str = ""

    @property
    def prefix(self) -> str:
        """The locator's 48 bits, without `::/48`."""
        return self.locator.removesuffix("::/48")

    @property
    def end_sid(self) -> str:
        """The node's segment: forward along the shortest path to me, then go on (End)."""
        return f"{self.prefix}::e"

    @property
    def decap_sid(self) -> str:
        """The last segment of a list: the packet inside has arrived."""
        return f"{self.prefix}::d"

    @property
    def address(self) -> str:
        """The node's own address: where traffic for its region goes."""
        return f"{self.prefix}::1"


@dataclass(frozen=True, slots=True)
class Link:
    """One direction of a connection, as measured or stated `age_s` seconds ago.

    Mbit/s, seconds, loss as a share, price in the market's currency and grams of CO2 per decimal gigabyte.
    `sid` is the adjacency segment (End.X) at its source. `origin` is imported, operator or probe; what is probed
    end to end (`overlay`) is a way between regions, not a wire: it gives their route, and no other path leads over it.
    """

    id: int
    source: str
    target: str
    capacity_mbps: int
    free_mbps: float
    latency_p50_s: float
    latency_p90_s: float
    jitter_p99_s: float = 0.005
    loss: float = 0.0
    price_per_gb: float = 0.0
    carbon_g_per_gb: float = 0.0
    domain: str = ""
    sid: str = ""
    origin: str = "imported"
    age_s: float = 0.0
    overlay: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.latency_p50_s <= self.latency_p90_s:
            raise ValueError("a link's latency is 0 < P50 <= P90")

    @property
    def widening(self) -> float:
        """P90(age) / P90: 1 when fresh, at most MAX_WIDENING."""
        sigma0 = math.log(self.latency_p90_s / self.latency_p50_s) / Z90
        sigma = math.sqrt(sigma0**2 + DRIFT[self.origin] * max(self.age_s, 0.0))
        return min(math.exp(Z90 * (sigma - sigma0)), MAX_WIDENING)

    @property
    def jitter_class(self) -> int:
        """J0 to J3, of the widened jitter."""
        return class_of(self.jitter_p99_s * self.widening)

    def edge(self) -> Edge:
        """As the planner counts it: pessimistic, and in whole numbers."""
        wide = self.widening
        return Edge(
            link=self.id,
            source=self.source,
            target=self.target,
            latency_ns=max(1, round(self.latency_p90_s * wide * BILLION)),
            jitter_ns=round(self.jitter_p99_s * wide * BILLION),
            mbps=min(self.free_mbps, self.capacity_mbps) / wide,
            loss=min(self.loss * wide, 1.0),
            price_n=round(self.price_per_gb * BILLION),
            carbon_n=round(self.carbon_g_per_gb * BILLION),
            jitter_class=class_of(self.jitter_p99_s * wide),
            domain=self.domain,
        )


@dataclass(frozen=True, slots=True)
class Edge:
    """A link as counted: nanoseconds, Mbit/s, billionths of a currency unit and of a gram per gigabyte."""

    link: int
    source: str
    target: str
    latency_ns: int
    jitter_ns: int = 0
    mbps: float = 0.0
    loss: float = 0.0
    price_n: int = 0
    carbon_n: int = 0
    jitter_class: int = BEST_EFFORT
    domain: str = ""


def class_of(jitter_s: float) -> int:
    """The jitter class of a P99 jitter in seconds: 0 (<= 0.02 ms), 1 (<= 1 ms), 2 (<= 10 ms), 3 (best effort)."""
    return next((i for i, bound in enumerate(JITTER_BOUNDS_S) if jitter_s <= bound), BEST_EFFORT)


class Graph:
    """Nodes by code and links by id; immutable. Edges leave a node in the order of their links' ids.

    Raises ValueError where an id appears twice or a link names an unknown node.
    """

    def __init__(self, nodes: Iterable[Node], links: Iterable[Link]) -> None:
        self.nodes = _once(((node.code, node) for node in nodes), "node")
        self.links = _once(((link.id, link) for link in sorted(links, key=lambda one: one.id)), "link")
        for link in self.links.values():
            if link.source not in self.nodes or link.target not in self.nodes:
                raise ValueError(f"link {link.id} joins an unknown node")

    @cached_property
    def edges(self) -> dict[str, list[Edge]]:
        """Edges by the node they leave; overlays and loops are not among them."""
        leaving: dict[str, list[Edge]] = defaultdict(list)
        for link in self.links.values():
            if not link.overlay and link.source != link.target:
                leaving[link.source].append(link.edge())
        return dict(leaving)

    @cached_property
    def by_region(self) -> dict[str, list[str]]:
        """The nodes of each region, in the order of their codes."""
        found: dict[str, list[str]] = defaultdict(list)
        for code in sorted(self.nodes):
            region = self.nodes[code].region
            if region is not None:
                found[region].append(code)
        return dict(found)


def _once(pairs: Iterable[tuple[K, V]], what: str) -> dict[K, V]:
    found: dict[K, V] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{what} {key} appears twice")
        found[key] = value
    return found


EARTH_KM: Final = 6371.0088  # mean radius, IUGG


def distance_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle distance of two (latitude, longitude) in degrees, by the haversine formula."""
    lat_a, lon_a, lat_b, lon_b = map(math.radians, (*a, *b))
    h = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(h)))
