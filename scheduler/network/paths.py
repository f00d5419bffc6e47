"""Paths over the graph: fastest, cheapest under a bound, and k alternatives. Exact, and deterministic in ties.

Latency and jitter add, price and carbon add, bandwidth is the least, the class the worst, deliveries multiply.
Paths are compared by (weight, hops, link ids): sums are whole numbers, and of two equal lists of the same length the one
whose first different link has the smaller id comes first. That order survives adding the same link to both, which is
what Dijkstra's algorithm needs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from scheduler.network.graph import BEST_EFFORT, BILLION, Edge

Edges = Mapping[str, list[Edge]]
Weight = Callable[[Edge], tuple[int, int]]
Order = tuple[tuple[int, int], int, tuple[int, ...]]
NOTHING: Final[frozenset[int]] = frozenset()


def by_latency(edge: Edge) -> tuple[int, int]:
    """The fastest, of equally fast ones the cheapest."""
    return edge.latency_ns, edge.price_n


def by_price(edge: Edge) -> tuple[int, int]:
    """The cheapest, of equally cheap ones the fastest."""
    return edge.price_n, edge.latency_ns


def by_carbon(edge: Edge) -> tuple[int, int]:
    """The greenest, of equally green ones the fastest."""
    return edge.carbon_n, edge.latency_ns


@dataclass(frozen=True, slots=True)
class Want:
    """What a path must offer on every link: class at most, Mbit/s at least, loss at most, allowed domains (None: all)."""

    max_class: int = BEST_EFFORT
    mbps: float = 0.0
    max_loss: float = 1.0
    domains: frozenset[str] | None = None

    def admits(self, edge: Edge) -> bool:
        return (
            edge.jitter_class <= self.max_class
            and edge.mbps >= self.mbps
            and edge.loss <= self.max_loss
            and (self.domains is None or edge.domain in self.domains)
        )


@dataclass(frozen=True, slots=True)
class Path:
    """Edges in their order, at least one."""

    edges: tuple[Edge, ...]

    @property
    def links(self) -> tuple[int, ...]:
        return tuple(edge.link for edge in self.edges)

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.edges[0].source, *(edge.target for edge in self.edges))

    @property
    def latency_ns(self) -> int:
        return sum(edge.latency_ns for edge in self.edges)

    @property
    def price_n(self) -> int:
        return sum(edge.price_n for edge in self.edges)

    @property
    def carbon_n(self) -> int:
        return sum(edge.carbon_n for edge in self.edges)

    @property
    def jitter_s(self) -> float:
        return sum(edge.jitter_ns for edge in self.edges) / BILLION

    @property
    def mbps(self) -> float:
        return min(edge.mbps for edge in self.edges)

    @property
    def jitter_class(self) -> int:
        return max(edge.jitter_class for edge in self.edges)

    @property
    def loss(self) -> float:
        delivered = 1.0
        for edge in self.edges:
            delivered *= 1.0 - edge.loss
        return 1.0 - delivered


@dataclass(frozen=True, slots=True)
class Bounded:
    """LARAC's answer: a path within the bound, a lower bound of the optimum's price, and how far apart they can be."""

    path: Path
    lower_n: Fraction

    @property
    def gap_n(self) -> Fraction:
        """Billionths per gigabyte; the optimum costs at least `price - gap`."""
        return max(Fraction(0), self.path.price_n - self.lower_n)


def prune(edges: Edges, want: Want) -> dict[str, list[Edge]]:
    """The edges that alone do not speak against the wish."""
    return {node: [edge for edge in leaving if want.admits(edge)] for node, leaving in edges.items()}


def tree(
    edges: Edges,
    sources: Collection[str],
    weight: Weight = by_latency,
    *,
    without: Collection[str] = (),
    closed: Collection[int] = NOTHING,
    until: str | None = None,
) -> dict[str, tuple[Edge, ...]]:
    """Dijkstra from all sources at once: the best path to every node reached (a source's own is empty).

    Nodes in `without` are not entered, links in `closed` not used; ends early when `until` is settled.
    """
    best: dict[str, tuple[Edge, ...]] = {}
    queue: list[tuple[Order, str, tuple[Edge, ...]]] = [(((0, 0), 0, ()), one, ()) for one in sorted(set(sources))]
    seen: dict[str, Order] = dict.fromkeys(sources, ((0, 0), 0, ()))
    while queue:
        (total, hops, links), node, path = heapq.heappop(queue)
        if node in best:
            continue
        best[node] = path
        if node == until:
            break
        for edge in edges.get(node, ()):
            if edge.target in best or edge.target in without or edge.link in closed:
                continue
            first, second = weight(edge)
            order: Order = ((total[0] + first, total[1] + second), hops + 1, (*links, edge.link))
            if edge.target not in seen or order < seen[edge.target]:
                seen[edge.target] = order
                heapq.heappush(queue, (order, edge.target, (*path, edge)))
    return best


def shortest(edges: Edges, source: str, target: str, weight: Weight = by_latency) -> Path | None:
    """The best path by one weight, or None. A way from a node to itself is no path."""
    found = tree(edges, [source], weight, until=target).get(target)
    return Path(found) if found else None


def cheapest_within(edges: Edges, source: str, target: str, bound_ns: int) -> Path | None:
    """The cheapest path of at most `bound_ns`, exactly: label setting with dominance (Desrochers and Soumis 1988).

    Labels leave the heap by (price, latency, hops, links); a label is kept only if it is faster than every label kept at
    its node. Labels that cannot reach the target in time, by the fastest way on from their node, are never made.
    """
    rest = {node: sum(e.latency_ns for e in path) for node, path in tree(reverse(edges), [target]).items()}
    if source == target or rest.get(source, bound_ns + 1) > bound_ns:
        return None
    fastest: dict[str, int] = {}
    queue: list[tuple[int, int, int, tuple[int, ...], str, tuple[Edge, ...]]] = [(0, 0, 0, (), source, ())]
    while queue:
        price, latency, hops, links, node, path = heapq.heappop(queue)
        if node in fastest and fastest[node] <= latency:
            continue
        if node == target:
            return Path(path)
        fastest[node] = latency
        for edge in edges.get(node, ()):
            so_far = latency + edge.latency_ns
            if so_far + rest.get(edge.target, bound_ns) <= bound_ns:
                more = price + edge.price_n, so_far, hops + 1, (*links, edge.link)
                heapq.heappush(queue, (*more, edge.target, (*path, edge)))
    return None


def reverse(edges: Edges) -> dict[str, list[Edge]]:
    """The same edges, each seen from its other end."""
    turned: dict[str, list[Edge]] = {}
    for leaving in edges.values():
        for e in leaving:
            back = Edge(e.link, e.target, e.source, e.latency_ns, price_n=e.price_n, carbon_n=e.carbon_n)
            turned.setdefault(e.target, []).append(back)
    return turned


def larac(edges: Edges, source: str, target: str, bound_ns: int) -> Bounded | None:
    """A cheap path of at most `bound_ns` with a bound on its gap (Jüttner, Szviatovszki, Mécs, Rajkó, INFOCOM 2001).

    Closes in on the best multiplier of the Lagrangian min price + lambda * (latency - bound) by shortest paths only.
    """
    cheap = shortest(edges, source, target, by_price)
    if cheap is None or cheap.latency_ns <= bound_ns:
        return None if cheap is None else Bounded(cheap, Fraction(cheap.price_n))
    fast = shortest(edges, source, target, by_latency)
    if fast is None or fast.latency_ns > bound_ns:
        return None
    while True:
        ratio = Fraction(fast.price_n - cheap.price_n, cheap.latency_ns - fast.latency_ns)
        mixed = shortest(edges, source, target, _mixed(ratio))
        if mixed is None or _cost(mixed, ratio) == _cost(cheap, ratio):
            return Bounded(fast, _cost(fast, ratio) - ratio * bound_ns)
        if mixed.latency_ns <= bound_ns:
            fast = mixed
        else:
            cheap = mixed


def _mixed(ratio: Fraction) -> Weight:
    up, down = ratio.numerator, ratio.denominator
    return lambda edge: (edge.price_n * down + up * edge.latency_ns, edge.latency_ns)


def _cost(path: Path, ratio: Fraction) -> Fraction:
    return path.price_n + ratio * path.latency_ns


def alternatives(edges: Edges, source: str, target: str, k: int, weight: Weight = by_latency) -> list[Path]:
    """The k best paths without loops, best first (Yen 1971); parallel links make different paths."""
    first = shortest(edges, source, target, weight)
    found = [] if first is None else [first]
    waiting: list[tuple[Order, Path]] = []
    known = {path.links for path in found}
    while found and len(found) < k:
        for path in _spurs(edges, found, weight):
            if path.links not in known:
                known.add(path.links)
                heapq.heappush(waiting, (order_of(path, weight), path))
        if not waiting:
            break
        found.append(heapq.heappop(waiting)[1])
    return found


def order_of(path: Path, weight: Weight) -> Order:
    """What paths are compared by: weight, hops, link ids."""
    parts = [weight(edge) for edge in path.edges]
    return (sum(a for a, _ in parts), sum(b for _, b in parts)), len(parts), path.links


def _spurs(edges: Edges, found: list[Path], weight: Weight) -> Iterator[Path]:
    """The best paths that leave the last one found at each of its nodes, and no path found before."""
    last = found[-1]
    target = last.nodes[-1]
    for i, node in enumerate(last.nodes[:-1]):
        root = last.edges[:i]
        closed = {path.edges[i].link for path in found if path.edges[:i] == root and len(path.edges) > i}
        rest = tree(edges, [node], weight, without=last.nodes[:i], closed=closed, until=target).get(target)
        if rest:
            yield Path((*root, *rest))
