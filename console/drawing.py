"""The network as a drawing: where dots, lines and names stand. Pure: a graph in, numbers for a template out.

Places are put on a plane where a degree of longitude is as long as it is at the middle of the map (equirectangular
projection), which keeps a country's shape near enough to be recognised.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from scheduler.network.graph import Graph, Link, Node

WIDTH: Final = 1000.0
MARGIN: Final = 45.0
HIGHEST: Final = 900.0
MOST_LINES: Final = 2000
_LETTER, _LINE = 7.6, 13.0  # a name's size in units of the drawing, estimated: there is no browser to ask
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Dot:
    """A node. `label` is empty where no room was left for a name; its anchor is start, middle or end."""

    x: float
    y: float
    node: Node
    label: str = ""
    label_x: float = 0.0
    label_y: float = 0.0
    anchor: str = "start"


@dataclass(frozen=True)
class Line:
    """The links between two nodes, in both directions; `link` is the one whose figures are told."""

    x1: float
    y1: float
    x2: float
    y2: float
    link: Link
    chosen: bool


@dataclass(frozen=True)
class Drawing:
    """A whole map, `width` by `height` units."""

    width: float
    height: float
    lines: list[Line]
    dots: list[Dot]


def draw(graph: Graph, chosen: Collection[int] = ()) -> Drawing:
    """The map of a network; the links of `chosen`, a path's, are drawn above the others."""
    at, height = _places(list(graph.nodes.values()))
    lines = [_line(link, at, link.id in chosen) for link in _one_per_pair(graph.links.values(), chosen)]
    return Drawing(WIDTH, height, sorted(lines, key=lambda line: line.chosen), _named(graph, at))


def _places(nodes: list[Node]) -> tuple[dict[str, tuple[float, float]], float]:
    """Where each node stands, and how high the map is: as large as the width allows, within the height."""
    if not nodes:
        return {}, 2 * MARGIN
    middle = math.cos(math.radians(sum(node.latitude for node in nodes) / len(nodes)))
    plane = {node.code: (node.longitude * middle, -node.latitude) for node in nodes}
    left, top = (min(place[axis] for place in plane.values()) for axis in (0, 1))
    wide, high = (max(place[axis] for place in plane.values()) - low for axis, low in ((0, left), (1, top)))
    scale = min((WIDTH - 2 * MARGIN) / max(wide, 1e-9), (HIGHEST - 2 * MARGIN) / max(high, 1e-9), 100.0)
    aside = (WIDTH - wide * scale) / 2
    at = {code: (round(aside + (x - left) * scale, 1), round(MARGIN + (y - top) * scale, 1)) for code, (x, y) in plane.items()}
    return at, round(high * scale + 2 * MARGIN, 1)


def _one_per_pair(links: Iterable[Link], chosen: Collection[int]) -> list[Link]:
    """Of all links between the same two nodes one, a chosen one before others; so many as can be drawn."""
    kept: dict[frozenset[str], Link] = {}
    for link in links:
        pair = frozenset((link.source, link.target))
        if pair not in kept or link.id in chosen:
            kept[pair] = link
    return sorted(kept.values(), key=lambda link: (link.id not in chosen, link.id))[:MOST_LINES]


def _line(link: Link, at: dict[str, tuple[float, float]], chosen: bool) -> Line:
    return Line(*at[link.source], *at[link.target], link, chosen)


def _named(graph: Graph, at: dict[str, tuple[float, float]]) -> list[Dot]:
    """Dots with the names for which there is room: nodes of regions first, then those with most links."""
    degree = Counter(link.source for link in graph.links.values())
    domains = {link.domain for link in graph.links.values() if link.domain}
    order = sorted(graph.nodes.values(), key=lambda node: (node.region is None, -degree[node.code], node.code))
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in at.values()]
    return [_dot(node, _short(node, domains), *at[node.code], taken) for node in order]


def _short(node: Node, domains: Collection[str]) -> str:
    """What a node is called on the map: its region, else its code without the network's name before it."""
    return node.region or next((node.code[len(one) + 1 :] for one in domains if node.code.startswith(f"{one}-")), node.code)


def _dot(node: Node, name: str, x: float, y: float, taken: list[Box]) -> Dot:
    """A node with its name right, left, above or below of it, where no other is yet; without one where all are taken."""
    long = len(name) * _LETTER
    for label_x, label_y, anchor, left in (
        (x + 8, y + 4, "start", x + 8),
        (x - 8, y + 4, "end", x - 8 - long),
        (x, y - 9, "middle", x - long / 2),
        (x, y + 17, "middle", x - long / 2),
    ):
        box = (left, label_y - _LINE + 3, left + long, label_y + 3)
        if box[0] >= 0 and box[2] <= WIDTH and not any(_meet(box, other) for other in taken):
            taken.append(box)
            return Dot(x, y, node, name, round(label_x, 1), round(label_y, 1), anchor)
    return Dot(x, y, node)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
