"""Segment lists: the shortest SRv6 list that makes routers take exactly the chosen path.

Between two segments packets follow the routers' own shortest paths (the IGP, here over each link's metric). So a node
segment may stand for a stretch of the path only if that stretch is the *unique* shortest path between its ends; where
even one hop is not, the link is named by its adjacency segment (End.X), which routers reach by the shortest path to the
link's tail. Every list ends with the endpoint's own segment, where the packet inside comes out. (RFC 8402, RFC 8754,
RFC 8986.) Any part of a unique shortest path is one itself, so the list with the fewest segments is found by a
short dynamic programme over the path's positions; of equally short ones that with more node segments wins.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Address
from typing import Any, Final

from scheduler.network.graph import Graph, Link
from scheduler.network.paths import Path

MAX_DEPTH: Final = 8  # segments that hardware commonly pushes; operators may state another
Metric = Callable[[Link], int]


def delay_metric(link: Link) -> int:
    """What routers count: the link's stated delay in whole microseconds, at least 1 (RFC 8570 counts delay so)."""
    return max(1, round(link.latency_p50_s * 1e6))


class Ambiguous(ValueError):
    """Several shortest paths: routers may take any."""


class Igp:
    """The routers' own shortest paths: distances, and whether they are unique."""

    def __init__(self, graph: Graph, metric: Metric = delay_metric) -> None:
        self.graph, self.metric = graph, metric
        self._trees: dict[str, dict[str, tuple[int, int, Link | None]]] = {}

    @cached_property
    def leaving(self) -> dict[str, list[Link]]:
        """Real links by the node they leave."""
        found: dict[str, list[Link]] = {code: [] for code in self.graph.nodes}
        for link in self.graph.links.values():
            if not link.overlay and link.source != link.target:
                found[link.source].append(link)
        return found

    def tree(self, source: str) -> dict[str, tuple[int, int, Link | None]]:
        """For each node reached: distance, number of shortest paths, and the last link of one of them."""
        if source not in self._trees:
            self._trees[source] = self._grow(source)
        return self._trees[source]

    def _grow(self, source: str) -> dict[str, tuple[int, int, Link | None]]:
        found: dict[str, tuple[int, int, Link | None]] = {source: (0, 1, None)}
        done: set[str] = set()
        queue = [(0, source)]
        while queue:
            distance, node = heapq.heappop(queue)
            if node in done:
                continue
            done.add(node)
            ways = found[node][1]
            for link in self.leaving[node]:
                further = distance + self.metric(link)
                known = found.get(link.target)
                if known is None or further < known[0]:
                    found[link.target] = further, ways, link
                    heapq.heappush(queue, (further, link.target))
                elif further == known[0]:
                    found[link.target] = further, known[1] + ways, known[2]
        return found

    def way(self, source: str, target: str) -> tuple[int, ...]:
        """The links of the unique shortest path; Ambiguous if there are several, ValueError if there is none."""
        tree = self.tree(source)
        if target not in tree:
            raise ValueError(f"no way from {source} to {target}")
        if tree[target][1] > 1:
            raise Ambiguous(f"several shortest paths from {source} to {target}")
        links: list[int] = []
        while (last := tree[target][2]) is not None:
            links.append(last.id)
            target = last.source
        return tuple(reversed(links))

    def takes(self, source: str, links: Sequence[int], target: str) -> bool:
        """Whether routers send from source to target over exactly these links."""
        tree = self.tree(source)
        return tree.get(target, (0, 0, None))[1] == 1 and self.way(source, target) == tuple(links)


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of the list: a node (`link` None), or the link out of a node (End.X); `sid` is its IPv6 address."""

    sid: str
    node: str
    link: int | None = None


def segments_of(igp: Igp, path: Path) -> tuple[Segment, ...]:
    """The shortest list whose expansion is the path.

    `best[j]` is the best list that brings a packet to position j, as (length, adjacencies, list).
    """
    nodes, links = path.nodes, path.links
    best: list[tuple[int, int, tuple[Segment, ...]]] = [(0, 0, ())]
    for j in range(1, len(nodes)):
        best.append(min(_arrivals(igp, nodes, links, best, j), key=lambda one: one[:2]))
    end = len(links)
    last = Segment(igp.graph.nodes[nodes[end]].decap_sid, nodes[end])
    lists = [
        (length + 1, adjacencies, (*found, last))
        for i, (length, adjacencies, found) in enumerate(best)
        if igp.takes(nodes[i], links[i:], nodes[end])
    ]
    return min(lists, key=lambda one: one[:2])[2]


def _arrivals(
    igp: Igp,
    nodes: Sequence[str],
    links: Sequence[int],
    best: list[tuple[int, int, tuple[Segment, ...]]],
    j: int,
) -> Iterable[tuple[int, int, tuple[Segment, ...]]]:
    """The lists that arrive at position j with one more segment than one that arrives before."""
    tail = nodes[j - 1]
    for i, (length, adjacencies, found) in enumerate(best):
        if igp.takes(nodes[i], links[i:j], nodes[j]):
            yield length + 1, adjacencies, (*found, Segment(igp.graph.nodes[nodes[j]].end_sid, nodes[j]))
        if igp.takes(nodes[i], links[i : j - 1], tail):
            adjacency = Segment(igp.graph.links[links[j - 1]].sid, tail, links[j - 1])
            yield length + 1, adjacencies + 1, (*found, adjacency)


def expand(igp: Igp, headend: str, segments: Iterable[Segment]) -> tuple[int, ...]:
    """The links that a packet with this list passes; Ambiguous if routers could choose."""
    links: list[int] = []
    here = headend
    for segment in segments:
        links += igp.way(here, segment.node)
        here = segment.node
        if segment.link is not None:
            link = igp.graph.links[segment.link]
            if link.source != here:
                raise ValueError(f"link {link.id} does not leave {here}")
            links.append(link.id)
            here = link.target
    return tuple(links)


def steerable(igp: Igp, paths: Iterable[Path], max_depth: int = MAX_DEPTH) -> tuple[Path, tuple[Segment, ...]] | None:
    """The first path whose list is at most `max_depth` long, with the list; None if every list is longer."""
    for path in paths:
        found = segments_of(igp, path)
        if len(found) <= max_depth:
            return path, found
    return None


@dataclass(frozen=True, slots=True)
class Policy:
    """An SR policy (RFC 9256): where traffic of a colour enters, where it goes, by which list, for how long.

    `valid` are two moments as text (RFC 3339), or None for always. The colour is 100 + the jitter class asked for.
    """

    path: Path
    segments: tuple[Segment, ...]
    jitter_class: int
    preference: int = 100
    valid: tuple[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """As JSON, for a controller."""
        validity = None if self.valid is None else {"from": self.valid[0], "until": self.valid[1]}
        return {
            "headend": self.path.nodes[0],
            "colour": 100 + self.jitter_class,
            "endpoint": self.path.nodes[-1],
            "preference": self.preference,
            "segments": [
                {"sid": one.sid, "type": "node" if one.link is None else "adjacency", "node": one.node, "link": one.link}
                for one in self.segments
            ],
            "validity": validity,
        }

    def iproute2(self, graph: Graph, device: str = "") -> str:
        """The command that installs it at a Linux headend, for traffic to the endpoint's address."""
        dev = device or interface(self.path.links[0])
        sids = ",".join(one.sid for one in self.segments)
        address = graph.nodes[self.path.nodes[-1]].address
        return f"ip -6 route replace {address}/128 encap seg6 mode encap segs {sids} dev {dev}"


def interface(link_id: int) -> str:
    """The name that commands use for the interface at a link's tail (at most 15 characters, as Linux wants)."""
    return f"gf{link_id}"


def local_commands(graph: Graph, node: str) -> list[str]:
    """The iproute2 commands that give a router its own segments: End, and End.X for each link that leaves it."""
    leaving = Igp(graph).leaving[node]
    if not leaving:
        return []
    one = graph.nodes[node]
    commands = [f"ip -6 route replace {one.end_sid}/128 encap seg6local action End dev {interface(leaving[0].id)}"]
    commands += [
        f"ip -6 route replace {link.sid}/128 encap seg6local action End.X nh6 {next_hop(link)} dev {interface(link.id)}"
        for link in leaving
    ]
    return commands


def near_end(link: Link) -> str:
    """The address of the link's own interface: its segment with `a` in the lowest four bits, of a /127 (RFC 6164)."""
    return _beside(link.sid, 0xA)


def next_hop(link: Link) -> str:
    """The address at the far end, with `b`: a global one, as Linux finds no link-local next hop of an End.X."""
    return _beside(link.sid, 0xB)


def _beside(sid: str, low: int) -> str:
    return str(IPv6Address((int(IPv6Address(sid)) & ~0xF) | low))
