"""Definitions and tables for tests of the index."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from index.trees import Definition, definition_of, read_definition

FOLDER = Path(__file__).resolve().parents[2] / "index" / "definitions"
NAME = {"zh": "名", "en": "name"}


def shipped(title: str = "cpsdi-2023@1") -> Definition:
    return read_definition((FOLDER / f"{title}.yaml").read_text())


def document(leaves: dict[str, str], *, groups: int = 1, **changes: Any) -> dict[str, Any]:
    """A definition of leaves with their formulas, spread over groups; every variable that a formula names counts."""
    method = {"normalise": "minmax", "aggregate": "arithmetic", "min_coverage": "0.65", "winsorise": 0, "restandardise": False}
    variables = {f"v{n}": {"profile": "national", "unit": "count", "name": NAME} for n in range(len(leaves))}
    nodes: list[dict[str, Any]] = [{"code": f"G{n}", "parent": "INDEX", "name": NAME} for n in range(groups)]
    for number, (code, formula) in enumerate(leaves.items()):
        leaf = {"code": code, "parent": f"G{number % groups}", "name": NAME, "unit": "count", "direction": "up"}
        nodes.append(leaf | {"formula": {"national": formula}})
    base = {"code": "test", "version": 1, "name": NAME, "after": "ours", "regions": "gbt2260-provinces", "method": method}
    return base | {"profiles": ["national"], "variables": variables, "nodes": nodes} | changes


def plain(count: int, *, groups: int = 1, **method: Any) -> Definition:
    """Leaves L0, L1 ... that are their variables v0, v1 ..."""
    made = document({f"L{n}": f"v{n}" for n in range(count)}, groups=groups)
    return definition_of(made | {"method": made["method"] | method})


def equal(definition: Definition) -> dict[str, Decimal]:
    return dict.fromkeys(definition.nodes, Decimal(1))


def table(*columns: list[int | str | None]) -> dict[str, dict[str, Decimal]]:
    """v0, v1 ... of regions r0, r1 ..."""
    return {
        f"v{n}": {f"r{place}": Decimal(value) for place, value in enumerate(column) if value is not None}
        for n, column in enumerate(columns)
    }
