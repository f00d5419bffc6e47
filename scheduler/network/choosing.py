"""A path chosen for somebody: constraints in; the path, its alternatives and how to steer it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from core.errors import NotFound
from scheduler.network.graph import BEST_EFFORT, BILLION, Graph
from scheduler.network.paths import (
    Edges,
    Path,
    Want,
    Weight,
    alternatives,
    by_carbon,
    by_latency,
    by_price,
    cheapest_within,
    larac,
    order_of,
    prune,
    tree,
)
from scheduler.network.segments import MAX_DEPTH, Igp, Policy, steerable

ANYTHING: Final = Want()
OBJECTIVES: Final[dict[str, Weight]] = {"latency": by_latency, "price": by_price, "carbon": by_carbon}


@dataclass(frozen=True, slots=True)
class Ask:
    """From where to where (regions or nodes), under which constraints; `max_latency_s` asks for the cheapest within it."""

    source: str
    target: str
    want: Want = ANYTHING
    objective: str = "latency"
    max_latency_s: float | None = None
    k: int = 3
    max_depth: int = MAX_DEPTH


@dataclass(frozen=True, slots=True)
class Choice:
    """The path, the next best, and the policy that steers the first of them whose list is short enough.

    `gap_n` is how much dearer than the optimum LARAC's quick answer could have been (billionths per gigabyte), None
    without a bound on latency. `policy` None says `unsteered`: why.
    """

    path: Path
    others: tuple[Path, ...]
    policy: Policy | None
    unsteered: str = ""
    gap_n: Fraction | None = None


def choose(graph: Graph, ask: Ask, valid: tuple[str, str] | None = None) -> Choice:
    """Raises NotFound: `node_unknown`, or `no_path` that satisfies the constraints."""
    edges = prune(graph.edges, ask.want)
    sources, targets = _nodes(graph, ask.source, "from"), _nodes(graph, ask.target, "to")
    first = _first(edges, sources, targets, ask)
    if first is None:
        raise NotFound("no_path", f"no path from {ask.source} to {ask.target} satisfies this")
    paths, gap = _paths(edges, first, ask)
    policy, why = _steer(graph, paths, ask, valid)
    return Choice(paths[0], tuple(paths[1:]), policy, why, gap)


def _first(edges: Edges, sources: Sequence[str], targets: Sequence[str], ask: Ask) -> Path | None:
    """The best path between any two of the nodes: a region is all of its nodes."""
    if ask.max_latency_s is not None:
        bound_ns = round(ask.max_latency_s * BILLION)
        pairs = ((a, b) for a in sources for b in targets if a != b and a not in targets)
        ways = [path for a, b in pairs if (path := cheapest_within(edges, a, b, bound_ns))]
        return min(ways, key=lambda path: order_of(path, by_price), default=None)
    weight = OBJECTIVES[ask.objective]
    reached = tree(edges, [one for one in sources if one not in targets], weight)
    ways = [Path(way) for node in targets if (way := reached.get(node))]
    return min(ways, key=lambda path: order_of(path, weight), default=None)


def _nodes(graph: Graph, name: str, at: str) -> list[str]:
    found = [name] if name in graph.nodes else graph.by_region.get(name, [])
    if not found:
        raise NotFound("node_unknown", f"{name} is no region with a node, and no node", field=at)
    return found


def _paths(edges: Edges, first: Path, ask: Ask) -> tuple[list[Path], Fraction | None]:
    """The first and the next best between its ends; under a bound those others that keep it, fastest first."""
    source, target = first.nodes[0], first.nodes[-1]
    if ask.max_latency_s is None:
        return alternatives(edges, source, target, ask.k, OBJECTIVES[ask.objective]), None
    bound_ns = round(ask.max_latency_s * BILLION)
    quick = larac(edges, source, target, bound_ns)
    others = [path for path in alternatives(edges, source, target, ask.k) if path != first and path.latency_ns <= bound_ns]
    return [first, *others][: ask.k], None if quick is None else quick.gap_n


def _steer(graph: Graph, paths: Sequence[Path], ask: Ask, valid: tuple[str, str] | None) -> tuple[Policy | None, str]:
    used = {node for path in paths for node in path.nodes}
    if any(not graph.nodes[node].locator for node in used):
        return None, "a node on the way has no locator"
    if any(not graph.links[link].sid for path in paths for link in path.links):
        return None, "a link on the way has no segment"
    found = steerable(Igp(graph), paths, ask.max_depth)
    if found is None:
        return None, f"every path needs more than {ask.max_depth} segments"
    path, segments = found
    jitter_class = min(ask.want.max_class, BEST_EFFORT)
    return Policy(path, segments, jitter_class, preference=100 - paths.index(path), valid=valid), ""


def path_document(path: Path) -> dict[str, Any]:
    """A path as the API shows it: milliseconds, Mbit/s, the market's currency per gigabyte."""
    return {
        "nodes": list(path.nodes),
        "links": list(path.links),
        "latency_ms": round(path.latency_ns / 1e6, 6),
        "jitter_ms": round(path.jitter_s * 1e3, 6),
        "jitter_class": path.jitter_class,
        "mbps": round(path.mbps, 3),
        "loss": round(path.loss, 9),
        "price_per_gb": decimal_text(path.price_n),
        "carbon_g_per_gb": path.carbon_n / BILLION,
    }


def decimal_text(billionths: int) -> str:
    """Billionths as decimal text, without exponent or idle zeros."""
    whole, part = divmod(billionths, BILLION)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".")
