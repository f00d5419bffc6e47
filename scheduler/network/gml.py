"""Reading topologies in GML as the Internet Topology Zoo writes them, with clear words for every hole.

What cannot be read is an `Invalid` error `invalid_topology` that names the line. What is merely missing is filled in by a
documented rule, and each time a note says so: a node without a place is put at the mean of its neighbours' places (at
`DEFAULTS.place` if they have none), a link without a speed gets `DEFAULTS.mbps`, two nodes of one name get the id added.

GML (Himsolt 1997) is `key value` pairs; a value is a number, a "string", or `[` pairs `]`; `#` starts a comment.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from core.errors import Invalid
from scheduler.network.graph import distance_km

FIBRE_S_PER_KM: Final = 5e-6  # light in glass: 299,792 km/s divided by the index 1.468
DETOUR: Final = 1.3  # cables do not lie on great circles
EQUIPMENT_S: Final = 50e-6  # routers and repeaters of one hop
SPREAD: Final = 1.25  # P90 over P50 of a link nobody has measured
MAX_NODES, MAX_EDGES, MAX_DEPTH = 5_000, 50_000, 8
_TOKEN: Final = re.compile(r'\s+|#[^\n]*|(?P<open>\[)|(?P<close>\])|"(?P<text>[^"]*)"|(?P<word>[^\s\[\]"]+)')
Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a file does not say: Mbit/s, jitter P99 (s), loss, price and carbon per GB and link, a place of last resort."""

    mbps: int = 10_000
    jitter_s: float = 0.005
    loss: float = 0.000_01
    price_per_gb: float = 0.0
    carbon_g_per_gb: float = 0.0
    place: Place = (34.3416, 108.9398)  # Xi'an, the middle of the map


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A node of a file: `code` is unique and carries the network's name."""

    code: str
    name: str
    place: Place
    locator: str
    transit_only: bool = False


@dataclass(frozen=True, slots=True)
class FoundLink:
    """One direction of an edge."""

    source: str
    target: str
    mbps: int
    latency_p50_s: float
    latency_p90_s: float
    sid: str


@dataclass(frozen=True, slots=True)
class Topology:
    """What a file says, completed; `notes` are the decisions that were taken for it."""

    name: str
    nodes: tuple[FoundNode, ...]
    links: tuple[FoundLink, ...]
    notes: tuple[str, ...]
    defaults: Defaults = field(default_factory=Defaults)


def wrong(detail: str, line: int | None = None) -> Invalid:
    where = "" if line is None else f"line {line}: "
    return Invalid("invalid_topology", where + detail, field="topology")


def read_topology(
    text: str, *, repairs: Mapping[str, Mapping[str, Place]] | None = None, defaults: Defaults | None = None
) -> Topology:
    """A topology from GML. `repairs[network][label]` are places known to be wrong in published files."""
    defaults = defaults or Defaults()
    graph = _graph_of(text)
    name = slug(str(graph.one("label") or graph.one("Network") or "network"))
    nodes, edges = graph.blocks("node"), graph.blocks("edge")
    if not nodes:
        raise wrong("the graph has no nodes")
    if len(nodes) > MAX_NODES or len(edges) > MAX_EDGES:
        raise wrong(f"more than {MAX_NODES} nodes or {MAX_EDGES} edges")
    notes: list[str] = []
    by_id = _by_id(nodes)
    joined = [_ends(edge, by_id) for edge in edges]
    places = _places(by_id, joined, (repairs or {}).get(name, {}), defaults, notes)
    codes = _codes(name, by_id, notes)
    found = {i: _node(name, i, nth, block, codes, places) for nth, (i, block) in enumerate(by_id.items(), 1)}
    links = _links(edges, joined, found, graph.one("directed") == 1, defaults, notes)
    return Topology(name, tuple(found.values()), tuple(links), tuple(notes), defaults)


def slug(text: str) -> str:
    """Lower-case letters and digits joined by hyphens, at most 40 characters; "x" if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-") or "x"


# -- the language -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Block:
    """The pairs of a `[ ... ]`, in order, and the line where it opens."""

    line: int
    pairs: list[tuple[str, Any]] = field(default_factory=list)

    def one(self, key: str) -> Any:
        """The first value of a key, or None."""
        return next((value for name, value in self.pairs if name == key), None)

    def blocks(self, key: str) -> list[Block]:
        found = [value for name, value in self.pairs if name == key]
        if any(not isinstance(value, Block) for value in found):
            raise wrong(f"{key} is a block in [ ]", self.line)
        return found


def _graph_of(text: str) -> Block:
    tokens = _tokens(text)
    whole = _block(tokens, 1, depth=0)
    graphs = whole.blocks("graph")
    if len(graphs) != 1:
        raise wrong(f"one graph [ ] is expected, there are {len(graphs)}")
    return graphs[0]


def _tokens(text: str) -> Iterator[tuple[str, Any, int]]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise wrong("a text without its closing quote", line)
        if match.lastgroup is not None:
            yield match.lastgroup, match[match.lastgroup], line
        line += match[0].count("\n")
        at = match.end()


def _block(tokens: Iterator[tuple[str, Any, int]], opened: int, depth: int) -> Block:
    """Pairs until the block closes; at depth 0 until the text ends."""
    if depth > MAX_DEPTH:
        raise wrong("blocks are nested too deep", opened)
    block = Block(opened)
    for kind, key, line in tokens:
        if kind == "close":
            if depth == 0:
                raise wrong("] closes nothing", line)
            return block
        if kind != "word" or not key[0].isalpha():
            raise wrong(f"a name is expected, not {key!r}", line)
        block.pairs.append((key, _value(tokens, key, line, depth)))
    if depth:
        raise wrong(f"the file ends inside the block that opened at line {opened}: is it cut?")
    return block


def _value(tokens: Iterator[tuple[str, Any, int]], key: str, line: int, depth: int) -> Any:
    kind, value, at = next(tokens, ("end", "", line))
    if kind == "open":
        return _block(tokens, at, depth + 1)
    if kind == "text":
        return value
    if kind != "word":
        raise wrong(f"{key} has no value: is the file cut?", line)
    try:
        number = float(str(value))
    except ValueError:
        raise wrong(f"{key} is {value!r}, neither a number nor a text", at) from None
    return int(number) if math.isfinite(number) and number.is_integer() else number


# -- what the pairs mean ----------------------------------------------------------------------------------------------


def _by_id(nodes: list[Block]) -> dict[int, Block]:
    found: dict[int, Block] = {}
    for block in nodes:
        number = block.one("id")
        if not isinstance(number, int):
            raise wrong("a node has no whole number as its id", block.line)
        if number in found:
            raise wrong(f"node {number} appears twice", block.line)
        found[number] = block
    return found


def _ends(edge: Block, nodes: Mapping[int, Block]) -> tuple[int, int]:
    ends = edge.one("source"), edge.one("target")
    for end in ends:
        if not isinstance(end, int) or end not in nodes:
            raise wrong(f"an edge leads to node {end}, which does not exist", edge.line)
    return ends


def _places(
    nodes: Mapping[int, Block],
    joined: list[tuple[int, int]],
    repairs: Mapping[str, Place],
    defaults: Defaults,
    notes: list[str],
) -> dict[int, Place]:
    places: dict[int, Place] = {}
    for number, block in nodes.items():
        label = str(block.one("label"))
        if label in repairs:
            places[number] = repairs[label]
            notes.append(f"{label}: misplaced in the file, put where it is")
        elif (place := _place(block)) is not None:
            places[number] = place
    known = dict(places)
    neighbours = _neighbours(joined)
    for number, block in nodes.items():
        if number not in known:
            around = [known[one] for one in sorted(neighbours[number]) if one in known]
            places[number] = _mean(around) if around else defaults.place
            notes.append(f"{block.one('label')}: without a place, put {'amid its neighbours' if around else 'at the default'}")
    return places


def _place(block: Block) -> Place | None:
    """Latitude and longitude in degrees; None if one is missing, both are zero, or the words are no numbers."""
    latitude, longitude = block.one("Latitude"), block.one("Longitude")
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None
    if not all(isinstance(one, (int, float)) and math.isfinite(one) for one in (latitude, longitude)):
        raise wrong("latitude and longitude are numbers", block.line)
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise wrong(f"{latitude}, {longitude} is no place on earth", block.line)
    return float(latitude), float(longitude)


def _neighbours(joined: list[tuple[int, int]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for a, b in joined:
        if a != b:
            found[a].add(b)
            found[b].add(a)
    return found


def _mean(places: list[Place]) -> Place:
    return sum(a for a, _ in places) / len(places), sum(b for _, b in places) / len(places)


def _codes(name: str, nodes: Mapping[int, Block], notes: list[str]) -> dict[int, str]:
    labels = {number: slug(str(block.one("label") or f"node-{number}")) for number, block in nodes.items()}
    times = Counter(labels.values())
    codes: dict[int, str] = {}
    for number, label in labels.items():
        again = f"-{number}" if times[label] > 1 else ""
        codes[number] = f"{name}-{label}{again}"
        if again:
            notes.append(f"{label}: the name of {times[label]} nodes, so called {codes[number]}")
    return codes


def _node(name: str, number: int, nth: int, block: Block, codes: Mapping[int, str], places: Mapping[int, Place]) -> FoundNode:
    locator = f"fc00:{zlib.crc32(name.encode()) & 0xFFFF:x}:{nth:x}::/48"
    label = str(block.one("label") or codes[number])
    return FoundNode(codes[number], label, places[number], locator, transit_only=block.one("Internal") == 0)


def _links(
    edges: list[Block],
    joined: list[tuple[int, int]],
    nodes: Mapping[int, FoundNode],
    directed: bool,
    defaults: Defaults,
    notes: list[str],
) -> list[FoundLink]:
    links: list[FoundLink] = []
    leaving: Counter[str] = Counter()
    without_speed = 0
    for edge, (a, b) in zip(edges, joined, strict=True):
        if a == b:
            notes.append(f"{nodes[a].name}: an edge to itself is left out")
            continue
        mbps = _speed(edge)
        without_speed += mbps is None
        for source, target in ((a, b),) if directed else ((a, b), (b, a)):
            leaving[nodes[source].code] += 1
            nth = leaving[nodes[source].code]
            links.append(_link(nodes[source], nodes[target], nth, mbps or defaults.mbps))
    if without_speed:
        notes.append(f"{without_speed} of {len(edges)} edges have no speed: {defaults.mbps:,} Mbit/s")
    return links


def _link(source: FoundNode, target: FoundNode, nth: int, mbps: int) -> FoundLink:
    p50 = delay_s(source.place, target.place)
    sid = f"{source.locator.removesuffix('::/48')}:{nth:x}::"
    return FoundLink(source.code, target.code, mbps, p50, p50 * SPREAD, sid)


def delay_s(a: Place, b: Place) -> float:
    """One way: great-circle distance x detour x 5 µs/km, and the equipment of a hop."""
    return distance_km(a, b) * DETOUR * FIBRE_S_PER_KM + EQUIPMENT_S


def _speed(edge: Block) -> int | None:
    """Whole Mbit/s from LinkSpeedRaw (bit/s) or from LinkSpeed with its units; None if the file does not say."""
    raw = edge.one("LinkSpeedRaw")
    figure: Any = edge.one("LinkSpeed")
    factor = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(str(edge.one("LinkSpeedUnits")).upper()[:1])
    if raw is None and figure is not None and factor is not None:
        with suppress(TypeError, ValueError):
            raw = float(figure) * factor
    if raw is None:
        return None
    if not isinstance(raw, (int, float)) or not 1e3 <= raw <= 1e15:
        raise wrong(f"a link speed of {raw!r} bit/s", edge.line)
    return max(1, round(raw / 1e6))
