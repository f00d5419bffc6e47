"""What the pages of the index say of a run, as rows for their templates. Pure."""

from __future__ import annotations

from typing import Any, Final

from console.index.reading import Shown, levels, places, share, tone
from index.expressions import names_in
from index.regions import PROVINCES, Province
from index.trees import ROOT, Node

TILE: Final = 92


def tile_of(province: Province, row: dict[str, Any] | None) -> dict[str, Any]:
    """A square of the grid with where its words stand."""
    x, y = (province.column - 1) * TILE + 4, province.row * TILE + 4
    return {"region": province, "row": row, "x": x, "y": y, "middle": x + 42, "upper": y + 40, "lower": y + 64}


def ranked_row(shown: Shown, region: str) -> dict[str, Any]:
    scores, band = shown.result["scores"], shown.analysis["bands"].get(region)
    index = scores[ROOT][region]
    band = band and band | {"first_five_percent": f"{band['first_five']:.0%}"}
    return {
        "region": PROVINCES[region],
        "rank": shown.result["ranks"][region],
        "score": places(index),
        "bar": share(index),
        "tone": tone(index),
        "band": band,
        "levels": [(code, shown.score(code, region)) for code in levels(shown)],
    }


def coverage_of(shown: Shown, region: str) -> str:
    return f"{float(shown.result['coverage'].get(region, 0)):.0%}"


def nodes_named(shown: Shown, codes: list[str]) -> list[Node]:
    return [shown.tree.nodes[code] for code in codes]


def parts_of(shown: Shown, region: str) -> list[dict[str, Any]]:
    """What each first level gives to the index: the sum of its indicators' contributions."""
    found = []
    contributions = shown.result["contributions"].get(region, {})
    for code in levels(shown):
        points = sum(float(value) for leaf, value in contributions.items() if is_below(shown, leaf, code))
        found.append(
            {"node": shown.tree.nodes[code], "score": shown.score(code, region), "points": places(points), "bar": share(points)}
        )
    return found


def is_below(shown: Shown, code: str, above: str) -> bool:
    """Whether `code` is `above` or stands somewhere under it."""
    while code != ROOT:
        if code == above:
            return True
        code = shown.tree.nodes[code].parent
    return False


def next_of(shown: Shown, region: str) -> dict[str, Any] | None:
    """Who is next above, and the smallest changes that would do."""
    found = shown.analysis["needed"].get(region)
    if not found:
        return None
    ways = [
        {
            "node": shown.tree.nodes[way["leaf"]],
            "value": places(way["value"]),
            "change": places(way["change"]),
            "points": places(way["points"]),
        }
        for way in found["ways"]
    ]
    return {"region": PROVINCES[found["above"]], "gap": places(found["gap"]), "ways": ways}


def sentence(shown: Shown, region: str) -> str:
    """The rank in words, made from the numbers."""
    province, row = PROVINCES[region], ranked_row(shown, region)
    parts = sorted(parts_of(shown, region), key=lambda part: -float(part["points"].replace(",", "") or 0))
    told = f"{province.en} is number {row['rank']} of {len(shown.result['ranks'])} with {row['score']} points"
    if row["band"]:
        told += f"; in 90 of 100 ways to weigh and to compute it stands between {row['band']['low']} and {row['band']['high']}"
    if parts and parts[0]["points"]:
        most, least = ((part["node"].name["en"], part["points"]) for part in (parts[0], parts[-1]))
        told += f". {most[0]} gives it most ({most[1]} points), {least[0]} least ({least[1]})"
    return f"{told}."


def leaves_of(shown: Shown, region: str) -> list[dict[str, Any]]:
    """Every indicator of the profile with what it has of the region."""
    result, ranks = shown.result, leaf_ranks(shown)
    flags = {(leaf, where): flag for leaf, where, flag, _ in result["flags"]}
    return [
        {
            "node": node,
            "raw": places(result["raw"].get(node.code, {}).get(region)),
            "score": shown_score(shown, node.code, region),
            "bar": share(result["normalised"].get(node.code, {}).get(region)),
            "rank": ranks.get(node.code, {}).get(region),
            "points": places(result["contributions"].get(region, {}).get(node.code)),
            "flag": flags.get((node.code, region)) or flags.get((node.code, "")),
            "inputs": inputs_of(shown, node, region),
        }
        for node in shown.tree.leaves(shown.run.profile)
    ]


def shown_score(shown: Shown, leaf: str, region: str) -> str:
    return places(shown.result["normalised"].get(leaf, {}).get(region))


def leaf_ranks(shown: Shown) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for leaf, values in shown.result["normalised"].items():
        ordered = sorted((float(value) for value in values.values()), reverse=True)
        found[leaf] = {region: ordered.index(float(value)) + 1 for region, value in values.items()}
    return found


def inputs_of(shown: Shown, node: Node, region: str) -> list[dict[str, Any]]:
    """The observations behind a value: variables of its formula, and of the indicators that this one names."""
    found, waiting, seen = [], [node.code], set[str]()
    while waiting:
        expression = shown.tree.expressions(shown.run.profile).get(code := waiting.pop())
        for name in sorted(names_in(expression)) if expression and code not in seen else ():
            waiting += [name] if name in shown.tree.nodes else []
            if name in shown.inputs and region in shown.inputs[name]:
                value, number, synthetic = shown.inputs[name][region]
                found.append(
                    {"variable": shown.tree.variables[name], "value": places(value), "number": number, "synthetic": synthetic}
                )
        seen.add(code)
    return found


def values_of(shown: Shown, node: Node) -> list[dict[str, Any]]:
    raw, normalised = (shown.result[name].get(node.code, {}) for name in ("raw", "normalised"))
    ranks = leaf_ranks(shown).get(node.code, {})
    order = sorted(raw, key=lambda region: (ranks.get(region, 99), region))
    return [
        {
            "region": PROVINCES[region],
            "rank": ranks.get(region),
            "raw": places(raw[region]),
            "score": places(normalised.get(region)),
            "bar": share(normalised.get(region)),
            "inputs": inputs_of(shown, node, region),
        }
        for region in order
    ]


def scores_of(shown: Shown, node: Node) -> list[dict[str, Any]]:
    scores = shown.result["scores"].get(node.code, {})
    order = sorted(scores, key=lambda region: (-float(scores[region]), region))
    return [
        {"region": PROVINCES[region], "rank": place, "score": places(scores[region]), "bar": share(scores[region])}
        for place, region in enumerate(order, 1)
    ]


def level_of(shown: Shown, node: Node) -> int:
    level = 1
    while node.parent != ROOT:
        node, level = shown.tree.nodes[node.parent], level + 1
    return level
