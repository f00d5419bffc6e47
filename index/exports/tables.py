"""A run's documents as tables of cells. Pure: documents in, rows out.

Cells are text, numbers as Decimal, whole numbers, or None where nothing is known. Missing is never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from index.analysis.explaining import effective
from index.regions import PROVINCES
from index.trees import ROOT, Definition

Cell = str | int | Decimal | None
NOTICE: Final = "Contains generated values, which say nothing of any province."
OURS: Final = "Method after CAICT 2023. Weights, data and results are not the academy's."


@dataclass(frozen=True, slots=True)
class Table:
    """A sheet of a workbook, or a file: a head and rows of as many cells."""

    name: str
    head: tuple[str, ...]
    rows: list[list[Cell]]


@dataclass(frozen=True, slots=True)
class Facts:
    """A run with its documents, and what its tables say of it. `about`: (what, value), in order."""

    tree: Definition
    profile: str
    weights: Mapping[str, Decimal]
    result: Mapping[str, Any]
    analysis: Mapping[str, Any]
    about: Sequence[tuple[str, str]]
    observations: Sequence[Sequence[Cell]]
    synthetic: bool


OBSERVED: Final = (
    "region_code", "region", "variable", "period", "value", "unit", "vintage", "origin", "source", "url", "file", "row",
    "file_sha256",
)  # fmt: skip


def about(facts: Facts) -> Table:
    """What the run is, with the mark of generated values on top."""
    lines: list[tuple[str, str]] = [("notice", NOTICE)] if facts.synthetic else []
    return Table("about", ("what", "value"), [[*line] for line in [*lines, ("method", OURS), *facts.about]])


def definition(facts: Facts) -> Table:
    """The tree with its formulas, and each node's weight among its siblings and of the whole."""
    shares = effective(facts.tree, facts.profile, facts.weights)
    rows: list[list[Cell]] = []
    for node in facts.tree.nodes.values():
        direction = {1: "up", -1: "down"}.get(node.direction or 0)
        unit = node.unit.code if node.unit else None
        formula = node.formula.get(facts.profile)
        weight, share = facts.weights.get(node.code), shares.get(node.code)
        rows.append(
            [node.code, node.parent, node.name["en"], node.name["zh"], unit, direction, formula, weight, share and round(share, 12)]
        )
    return Table("definition", ("node", "parent", "en", "zh", "unit", "better", "formula", "weight", "of_the_whole"), rows)


def _wide(name: str, of: Callable[[Facts], Sequence[str]], key: str) -> Callable[[Facts], Table]:
    """Regions down, nodes across."""

    def made(facts: Facts) -> Table:
        nodes, table = of(facts), facts.result[key]
        rows: list[list[Cell]] = [
            [code, one.en, one.zh, *(decimal(table.get(node, {}).get(code)) for node in nodes)] for code, one in PROVINCES.items()
        ]
        return Table(name, ("region_code", "region", "region_zh", *nodes), rows)

    return made


def _leaves(facts: Facts) -> list[str]:
    return [node.code for node in facts.tree.leaves(facts.profile)]


def _nodes(facts: Facts) -> list[str]:
    return [code for code in (ROOT, *facts.tree.nodes) if code in facts.result["scores"]]


def ranks(facts: Facts) -> Table:
    """Every province with its rank and band; those without a score last."""
    found, scores, bands = facts.result["ranks"], facts.result["scores"].get(ROOT, {}), facts.analysis["bands"]
    order = sorted(PROVINCES, key=lambda region: (found.get(region, len(PROVINCES) + 1), region))
    rows: list[list[Cell]] = []
    for region in order:
        band, covered = bands.get(region, {}), decimal(facts.result["coverage"].get(region))
        ends = [band.get(name) for name in ("low", "middle", "high")]
        first = decimal(band.get("first_five"))
        rows.append([region, PROVINCES[region].en, found.get(region), decimal(scores.get(region)), *ends, first, covered])
    head = ("region_code", "region", "rank", "score", "band_low", "band_middle", "band_high", "first_five", "coverage")
    return Table("ranks", head, rows)


def contributions(facts: Facts) -> Table:
    """What each indicator gives to the index; a row adds up to its score."""
    table, leaves = facts.result["contributions"], _leaves(facts)
    rows: list[list[Cell]] = [
        [code, one.en, *(decimal(table.get(code, {}).get(leaf)) for leaf in leaves)] for code, one in PROVINCES.items()
    ]
    return Table("contributions", ("region_code", "region", *leaves), rows)


def flags(facts: Facts) -> Table:
    """What was done to values, and what is strange."""
    rows: list[list[Cell]] = [[leaf, region or None, flag, detail or None] for leaf, region, flag, detail in facts.result["flags"]]
    return Table("flags", ("node", "region_code", "flag", "detail"), rows)


def observations(facts: Facts) -> Table:
    """Every value that the run saw, with its file, row and citation."""
    return Table("observations", OBSERVED, [list(row) for row in facts.observations])


TABLES: Final[Mapping[str, Callable[[Facts], Table]]] = {
    "about": about, "definition": definition, "ranks": ranks, "scores": _wide("scores", _nodes, "scores"),
    "raw": _wide("raw", _leaves, "raw"), "treated": _wide("treated", _leaves, "treated"),
    "normalised": _wide("normalised", _leaves, "normalised"), "contributions": contributions, "flags": flags,
    "observations": observations,
}  # fmt: skip


def province(facts: Facts, region: str) -> Table:
    """One province: every node with what there is of it."""
    head = ("node", "en", "zh", "unit", "raw", "score", "contribution")
    return Table(f"province-{region}", head, [_one(facts, code, region) for code in (ROOT, *facts.tree.nodes)])


def _one(facts: Facts, code: str, region: str) -> list[Cell]:
    node, result = facts.tree.nodes.get(code), facts.result
    name = node.name if node else facts.tree.name
    score = result["scores"].get(code, {}).get(region) or result["normalised"].get(code, {}).get(region)
    raw, part = result["raw"].get(code, {}).get(region), result["contributions"].get(region, {}).get(code)
    return [
        code,
        name["en"],
        name["zh"],
        node.unit.code if node and node.unit else None,
        decimal(raw),
        decimal(score),
        decimal(part),
    ]


def indicator(facts: Facts, code: str) -> Table:
    """One node in every province."""
    head = ("region_code", "region", "region_zh", "raw", "score", "contribution")
    rows: list[list[Cell]] = [[region, one.en, one.zh, *_one(facts, code, region)[4:]] for region, one in PROVINCES.items()]
    return Table(f"indicator-{code}", head, rows)


def decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))
