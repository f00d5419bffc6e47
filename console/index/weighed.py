"""What the pages of weights and panels show, as rows for their templates. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from console.charts import ROOM, ROW, Chart
from index.analysis.explaining import effective
from index.defining import weights_of
from index.models import WeightSet
from index.trees import ROOT, Definition

LEVELS: Final = 3


def shares_of_sets(tree: Definition, profile: str, sets: Sequence[WeightSet]) -> list[dict[str, Any]]:
    """Each indicator of the profile with its share of the whole in each set."""
    columns = [effective(tree, profile, weights_of(one)) for one in sets]
    return [
        {
            "node": node,
            "cells": [{"set": one, "share": percent(column[node.code])} for one, column in zip(sets, columns, strict=True)],
            "values": [float(column[node.code]) for column in columns],
        }
        for node in tree.leaves(profile)
    ]


def shares_drawn(rows: Sequence[Mapping[str, Any]], sets: Sequence[WeightSet], **more: Any) -> Chart:
    """The same as bars, a colour for each set."""
    names = [f"{row['node'].code} {row['node'].name['en']}" for row in rows]
    series = [
        {"type": "bar", "name": one.name, "barMaxWidth": 12, "data": [round(100 * row["values"][at], 3) for row in rows]}
        for at, one in enumerate(sets)
    ]
    option = {
        "grid": {"left": 28, "right": 24, "top": 40, "bottom": 36, "containLabel": True},
        "legend": {"top": 4, "type": "scroll"},
        "tooltip": {"trigger": "axis", "axisPointer": {"type": "shadow"}},
        "xAxis": {"type": "value", "name": "per cent of the index", "nameLocation": "middle", "nameGap": 26},
        "yAxis": {"type": "category", "data": names, "inverse": True, "axisTick": {"show": False}, "axisLabel": {"interval": 0}},
        "series": series,
    }
    height = max(ROW, 12 * len(sets) + 6) * len(rows) + ROOM + 24
    return Chart("weights", "What each indicator weighs in the index", option, height, **more)


def percent(value: Any) -> str:
    """A share with one place.

    >>> percent(Decimal("0.0625"))
    '6.2%'
    """
    return f"{float(value):.1%}"


def nodes_weighed(tree: Definition, row: WeightSet) -> list[dict[str, Any]]:
    """Every node with what it weighs among its siblings, and of the whole in each profile."""
    weights = weights_of(row)
    wholes = {profile: effective(tree, profile, weights) for profile in tree.profiles}
    sums = {parent: sum((weights[node.code] for node in tree.children(parent)), Decimal(0)) for parent in [ROOT, *tree.nodes]}
    return [
        {
            "node": node,
            "level": level_of(tree, code),
            "among": percent(weights[code] / sums[node.parent]),
            "of_all": [(profile, percent(shares[code])) for profile, shares in wholes.items() if code in shares],
        }
        for code, node in tree.nodes.items()
    ]


def level_of(tree: Definition, code: str) -> int:
    """1: right below the index."""
    level = 1
    while tree.nodes[code].parent != ROOT and level < LEVELS:
        code, level = tree.nodes[code].parent, level + 1
    return level


def group_name(tree: Definition, parent: str) -> str:
    """What a group of siblings is called by: the node above it."""
    return tree.name["en"] if parent == ROOT else f"{parent} {tree.nodes[parent].name['en']}"


def ratios_recorded(tree: Definition, evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a panel's set: each expert's consistency ratio by group, the worst of them, and the group's own beside them."""
    ratios, voices = evidence.get("ratios", {}), evidence.get("voices", {})
    names = [one["name"] for one in evidence.get("experts", [])] or sorted(voices)
    return [
        {"name": name, "voice": voices.get(name, ""), "together": name == "together", **_ratios(tree, ratios.get(name, {}))}
        for name in [*names, "together"]
    ]


def _ratios(tree: Definition, given: Mapping[str, str]) -> dict[str, Any]:
    """Groups of two are always consistent, and say nothing."""
    groups = [parent for parent, below in tree.groups().items() if len(below) > 2]
    cells = [{"parent": parent, "ratio": ratio_of(given.get(parent)), "over": over(given.get(parent))} for parent in groups]
    known = [Decimal(given[parent]) for parent in groups if parent in given]
    return {"cells": cells, "worst": ratio_of(max(known, default=None)), "over": over(max(known, default=None))}


def ratio_of(value: Any) -> str:
    return "" if value is None else f"{Decimal(value):.3f}"


def over(value: Any) -> bool:
    """Whether a ratio is not good enough."""
    return value is not None and Decimal(value) >= Decimal("0.10")


def judged_by(tree: Definition, evidence: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """What one expert said, as it was recorded."""
    return [
        {"group": group_name(tree, parent), "one": tree.nodes[one], "other": tree.nodes[other], "value": value}
        for expert, parent, one, other, value in evidence.get("judgements", [])
        if expert == name
    ]
