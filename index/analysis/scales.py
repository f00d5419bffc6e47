"""On which scale a run's indicators stand: what a later run must keep to for its points to mean the same. Pure.

Documents are results of runs (index/running/documents.py): numbers are decimal text.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from decimal import Decimal, localcontext
from typing import Any, Final

from index.method.numbers import CONTEXT, plain
from index.method.treating import shift_of
from index.trees import Definition, Node

Document = Mapping[str, Any]
_LINEAR: Final = frozenset({"minmax", "goalposts"})
_ENDS: Final = _LINEAR | {"efficacy", "target"}


def lent(definition: Definition, document: Document) -> dict[str, dict[str, Any]]:
    """What a run lends as a base, as parameters of another: goalposts {leaf: [low, high]}, treatment {leaf: what was done}.

    A run on a base's goalposts lends those. Indicators that tell nobody from anybody have none.
    """
    if "goalposts" in document["parameters"]:
        return {name: document["parameters"].get(name, {}) for name in ("goalposts", "treatment")}
    flags = _flags(document)
    ends = {
        node.code: _ends(node, document["treated"].get(node.code, {}), "logged" in flags.get(node.code, {}))
        for node in definition.leaves(document["profile"])
    }
    posts = {leaf: [low, high] for leaf, (low, high) in ends.items() if Decimal(low) < Decimal(high)}
    return {"goalposts": posts, "treatment": {leaf: _done(leaf, document, flags.get(leaf, {})) for leaf in posts}}


def scales(definition: Definition, document: Document) -> dict[str, Hashable]:
    """By leaf that counts in the run: two runs' scores of it are on one scale where these are equal."""
    own, posts, how = lent(definition, document), document["parameters"].get("goalposts", {}), normaliser(definition, document)
    found: dict[str, Hashable] = {}
    for leaf in (leaf for leaf, values in document["normalised"].items() if values):
        fixed = leaf in posts or (definition.nodes[leaf].goalposts and "shift" not in own["treatment"].get(leaf, {}))
        kind = "linear" if fixed or how in _LINEAR else how
        if leaf in own["goalposts"] and (fixed or how in _ENDS):
            done = tuple(sorted((part, Decimal(value)) for part, value in own["treatment"].get(leaf, {}).items()))
            found[leaf] = (kind, *map(Decimal, own["goalposts"][leaf]), done)
        else:  # of ranks and deviations the scale is all values there are
            found[leaf] = (kind, tuple(document["treated"][leaf].items()))
    return found


def normaliser(definition: Definition, document: Document) -> str:
    return str(document["parameters"].get("normalise", definition.method["normalise"]))


def _flags(document: Document) -> dict[str, dict[str, list[str]]]:
    """By leaf and flag: the regions."""
    found: dict[str, dict[str, list[str]]] = {}
    for leaf, region, flag, _ in document["flags"]:
        found.setdefault(leaf, {}).setdefault(flag, []).append(region)
    return found


def _ends(node: Node, values: Mapping[str, str], logged: bool) -> tuple[str, str]:
    if node.goalposts and not logged:
        return plain(node.goalposts[0]), plain(node.goalposts[1])
    ordered = sorted(values.values(), key=Decimal)
    return (ordered[0], ordered[-1]) if ordered else ("0", "0")


def _done(leaf: str, document: Document, flags: Mapping[str, list[str]]) -> dict[str, str]:
    """`Done` as decimal text."""
    raw, treated = document["raw"][leaf], document["treated"][leaf]
    if "logged" in flags:
        ends = [sorted(map(Decimal, raw.values()))[place] for place in (0, -1)]
        with localcontext(CONTEXT):
            return {"least": plain(ends[0]), "shift": plain(shift_of(*ends))}
    moved = [(Decimal(raw[region]), treated[region]) for region in flags.get("winsorised", ())]
    return {"most" if before > Decimal(after) else "least": after for before, after in moved}
