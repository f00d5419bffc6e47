"""What moved between two moments: of each region, how much every indicator gave to the change of what stands above it. Pure.

The index of a region is known where all first levels are. Where it is not, its highest nodes that are known before and after stand
for it, so that a young market sees moves, too. The parts of a node add up to its change, to the last of twelve places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Final

from index.expressions import names_in
from index.method.numbers import CONTEXT, ZERO, stored
from index.method.scoring import Method, Result, Table, pruned, score
from index.trees import ROOT, Definition

PROFILE: Final = "platform"
Posts = Mapping[str, tuple[Decimal, Decimal]]
_STANDS: Final = {"winsorise": 0, "aggregate": "arithmetic", "restandardise": False}


@dataclass(frozen=True, slots=True)
class Moment:
    """What was counted, scored. values  by variable and region, in the variable's unit."""

    values: Table
    result: Result
    tree: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Move:
    """An indicator's move in a region; fields as those of `PreviewChange`. With empty `leaf`: of the index itself."""

    region: str
    leaf: str
    node: str = ""
    before: Decimal | None = None
    after: Decimal | None = None
    points: Decimal | None = None
    raw_before: Decimal | None = None
    raw_after: Decimal | None = None
    variables: Mapping[str, tuple[Decimal | None, Decimal | None]] = field(default_factory=dict)


def moment(definition: Definition, weights: Mapping[str, Decimal], values: Table, posts: Posts) -> Moment:
    """Score what was counted between fixed ends: nothing is treated and the mean is arithmetic, so that every move is its own."""
    method = replace(Method.of(definition, _STANDS), goalposts=posts)
    result = score(definition, PROFILE, weights, values, method)
    silent = {leaf for leaf, _, flag, _ in result.flags if flag in {"no_variation", "one_region"}}
    return Moment(values, result, pruned(definition.tree(PROFILE), set(result.normalised) - silent))


def ends(posts: Posts, raw: Table) -> dict[str, tuple[Decimal, Decimal]]:
    """Fixed ends of every indicator that tells regions apart: those that stand, and for others the least and the greatest now."""
    found = dict(posts)
    for leaf, values in raw.items():
        least, most = (stored(end(values.values())) if values else ZERO for end in (min, max))
        if leaf not in found and least < most:
            found[leaf] = (least, most)
    return found


def moves(definition: Definition, before: Moment, after: Moment) -> list[Move]:
    """All that moved, by region and in the order of the tree."""
    with localcontext(CONTEXT):
        regions = sorted({region for one in (before, after) for values in one.result.raw.values() for region in values})
        return [move for region in regions for move in _of_region(definition, before, after, region)]


def _of_region(definition: Definition, before: Moment, after: Moment, region: str) -> list[Move]:
    parts = _parts(before, after, region)
    found = [_entered(before, after, region)]
    for node in definition.leaves(PROFILE):
        raw = [_value(one.result.raw, node.code, region) for one in (before, after)]
        top, points = parts.get(node.code, ("", None))
        if raw[0] == raw[1] and not points:
            continue
        scores = [_value(one.result.scores, top, region) for one in (before, after)] if top else [None, None]
        moved = _variables(definition, before, after, node.code, region)
        found.append(Move(region, node.code, top, scores[0], scores[1], points, raw[0], raw[1], moved))
    return [one for one in found if one is not None]


def _entered(before: Moment, after: Moment, region: str) -> Move | None:
    index = [_value(one.result.scores, ROOT, region) for one in (before, after)]
    if (index[0] is None) == (index[1] is None):
        return None
    return Move(region, "", ROOT, index[0], index[1])


def _value(table: Table, name: str, region: str) -> Decimal | None:
    value = table.get(name, {}).get(region)
    return None if value is None else stored(value)


def _parts(before: Moment, after: Moment, region: str) -> dict[str, tuple[str, Decimal]]:
    """By leaf: what it counts for, and its part of that one's change."""
    found: dict[str, tuple[str, Decimal]] = {}
    for top in _tops(before, after, region):
        gave = [_given(one, top, region) for one in (before, after)]
        parts = {leaf: stored(gave[1].get(leaf, ZERO) - gave[0].get(leaf, ZERO)) for leaf in gave[0].keys() | gave[1].keys()}
        change = stored(after.result.scores[top][region]) - stored(before.result.scores[top][region])
        rest = change - sum(parts.values(), ZERO)
        if rest:  # of rounding: the last place, on the largest
            parts[max(parts, key=lambda leaf: (abs(parts[leaf]), leaf))] += rest
        found |= {leaf: (top, part) for leaf, part in parts.items()}
    return found


def _tops(before: Moment, after: Moment, region: str) -> list[str]:
    """The highest nodes that are known of the region at both moments."""
    found, waiting = list[str](), [ROOT]
    while waiting:
        code = waiting.pop()
        if all(region in one.result.scores.get(code, {}) for one in (before, after)):
            found.append(code)
        else:
            waiting += set(before.tree.get(code, ())) | set(after.tree.get(code, ()))
    return found


def _given(one: Moment, top: str, region: str) -> dict[str, Decimal]:
    """What every leaf below gives to the node's score; they add up to it."""
    if top not in one.tree:
        return {top: one.result.scores[top][region]}
    found, waiting = dict[str, Decimal](), [(top, Decimal(1))]
    while waiting:
        parent, share = waiting.pop()
        there = [child for child in one.tree[parent] if region in one.result.scores.get(child, {})]
        total = sum((one.result.weights[child] for child in there), ZERO)
        for child in there:
            part = share * one.result.weights[child] / total if total else ZERO
            if child in one.tree:
                waiting.append((child, part))
            else:
                found[child] = part * one.result.scores[child][region]
    return found


def _variables(
    definition: Definition, before: Moment, after: Moment, leaf: str, region: str
) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    """What moved of the variables that the leaf's formula names, itself or through other indicators."""
    found, waiting, seen = dict[str, tuple[Decimal | None, Decimal | None]](), [leaf], set[str]()
    expressions = definition.expressions(PROFILE)
    while waiting:
        code = waiting.pop()
        for name in sorted(names_in(expressions[code])) if code in expressions and code not in seen else ():
            waiting += [name] if name in definition.nodes else []
            pair = (_value(before.values, name, region), _value(after.values, name, region))
            if name in definition.variables and pair[0] != pair[1]:
                found[name] = pair
        seen.add(code)
    return found
