"""What changed from one run to another, and what sets two regions apart, leaf by leaf. Pure.

Of an arithmetic mean the index is I = sum of W s over the leaves that count, W being a leaf's share of the whole. Its change is
the sum over the leaves of

    data      W(before) (s(after) - s(before))
    weights   (W(after's weights, before's leaves) - W(before)) s(after)
    coverage  (W(after) - W(after's weights, before's leaves)) s(after)

Coverage is what comes of an indicator that is known in one of the two alone: it is neither a change of the data nor of a weight.
Where it is known in both it is 0, and the other two are the whole. Of a leaf that is not known after, s(before) stands for
s(after). Runs are compared like for like only: of one definition, profile and method, on one scale. Otherwise there are reasons,
and no numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Any, Final

from index.analysis.scales import Document, scales
from index.method.numbers import CONTEXT, ZERO
from index.trees import ROOT, Definition

NAMED: Final = 5  # leaves that a reason names
Tree = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Side:
    """A run as it is compared. weights  by node, of any sum among siblings; document  its result."""

    definition: Definition
    weights: Mapping[str, Decimal]
    document: Document


@dataclass(frozen=True, slots=True)
class Reason:
    """Why two runs do not compare: definition, profile, method, scale or regions; `detail` in words."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Effect:
    """Points of the index by what they come of."""

    data: Decimal = ZERO
    weights: Decimal = ZERO
    coverage: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return self.data + self.weights + self.coverage

    def __add__(self, other: Effect) -> Effect:
        return Effect(self.data + other.data, self.weights + other.weights, self.coverage + other.coverage)


@dataclass(frozen=True, slots=True)
class Moved:
    """A region in two runs. Score and rank are None where it has none.

    change   of the index; None where the runs do not compare, or it is ranked in one alone
    effects  by node, the root's is the whole; empty where there is no change, or the index is no sum
    """

    region: str
    before: Decimal | None
    after: Decimal | None
    rank_before: int | None
    rank_after: int | None
    change: Decimal | None = None
    effects: Mapping[str, Effect] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """`reasons`: why not; empty: like for like. Regions by their rank after, those without one last."""

    reasons: Sequence[Reason]
    regions: Sequence[Moved]

    @property
    def comparable(self) -> bool:
        return not self.reasons


def compare(before: Side, after: Side) -> Comparison:
    """What became of every region that is ranked in either."""
    why = reasons(before, after)
    ranks = after.document["ranks"]
    regions = sorted(before.document["ranks"].keys() | ranks.keys(), key=lambda region: (ranks.get(region, 10**9), region))
    with localcontext(CONTEXT):
        shares = _Shares(before, after)
        return Comparison(why, [_moved(before, after, region, None if why else shares) for region in regions])


def reasons(before: Side, after: Side) -> list[Reason]:
    """Why two runs do not compare; empty where they do."""
    one, other = before.document, after.document
    if before.definition.digest != after.definition.digest:
        return [Reason("definition", f"they are of two definitions, {before.definition.title} and {after.definition.title}")]
    if one["profile"] != other["profile"]:
        return [Reason("profile", f"one is of the {one['profile']} profile, one of the {other['profile']}")]
    found = [
        Reason("method", f"{name} is {_method(before, name)} in one and {_method(after, name)} in the other")
        for name in before.definition.method
        if _method(before, name) != _method(after, name)
    ]
    found += [reason for reason in [_scale(before, after)] if reason]
    if not one["ranks"].keys() & other["ranks"].keys():
        found.append(Reason("regions", "no region is ranked in both"))
    return found


def _method(side: Side, name: str) -> Any:
    value = side.document["parameters"].get(name, side.definition.method[name])
    return Decimal(value) if name == "min_coverage" else value


def _scale(before: Side, after: Side) -> Reason | None:
    """The indicators that count in both and stand between other ends."""
    ends, others = (scales(side.definition, side.document) for side in (before, after))
    apart = [leaf for leaf in ends if leaf in others and ends[leaf] != others[leaf]]
    if not apart:
        return None
    more = f" and {len(apart) - NAMED} more" if len(apart) > NAMED else ""
    return Reason("scale", f"points are not on one scale, as goalposts differ: {', '.join(apart[:NAMED])}{more}")


def _moved(before: Side, after: Side, region: str, shares: _Shares | None) -> Moved:
    """`shares` is None where the runs do not compare."""
    first, last = (_known(side.document["scores"].get(ROOT, {}).get(region)) for side in (before, after))
    plain = Moved(region, first, last, before.document["ranks"].get(region), after.document["ranks"].get(region))
    if shares is None or first is None or last is None:
        return plain
    return replace(plain, change=last - first, effects=shares.effects(region))


def _known(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


class _Shares:
    """Leaves' shares of the whole, of every set of leaves that some region has; most regions have the same."""

    def __init__(self, before: Side, after: Side) -> None:
        self.before, self.after = before, after
        self.definition, self.profile = before.definition, before.document["profile"]
        self.found: dict[tuple[bool, frozenset[str]], dict[str, Decimal]] = {}

    def of(self, later: bool, leaves: frozenset[str]) -> dict[str, Decimal]:
        """By the weights of the run after, or of the one before."""
        if (later, leaves) not in self.found:
            side = self.after if later else self.before
            self.found[later, leaves] = shares(side.definition.tree(self.profile), side.weights, leaves)
        return self.found[later, leaves]

    def effects(self, region: str) -> dict[str, Effect]:
        """By node; empty where the index is no sum of parts."""
        there = [frozenset(side.document["contributions"].get(region, ())) for side in (self.before, self.after)]
        if not there[0] or not there[1]:
            return {}
        parts = self.of(False, there[0]), self.of(True, there[0]), self.of(True, there[1])
        scores = [{leaf: Decimal(side.document["normalised"][leaf][region]) for leaf in leaves}
                  for side, leaves in zip((self.before, self.after), there, strict=True)]  # fmt: skip
        leaves = {leaf: effect(leaf, parts, scores[0], scores[1]) for leaf in sorted(there[0] | there[1])}
        return summed(self.definition, leaves)


def effect(
    leaf: str, parts: tuple[Mapping[str, Decimal], Mapping[str, Decimal], Mapping[str, Decimal]],
    before: Mapping[str, Decimal], after: Mapping[str, Decimal],
) -> Effect:  # fmt: skip
    """parts  shares before, of after's weights over before's leaves, and after; before, after  scores of the leaves that count"""
    first, between, last = (part.get(leaf, ZERO) for part in parts)
    later = after.get(leaf, before.get(leaf, ZERO))
    return Effect(first * (later - before.get(leaf, later)), (between - first) * later, (last - between) * later)


def shares(tree: Tree, weights: Mapping[str, Decimal], leaves: frozenset[str]) -> dict[str, Decimal]:
    """Each of `leaves`' share of the whole, where nothing else is known. They add up to 1, or to less where nothing weighs."""
    there = set(leaves)
    for parent, below in tree.items():  # the lowest parents come first
        there |= {parent} if any(child in there for child in below) else set()
    found, waiting = dict.fromkeys(sorted(leaves), ZERO), [(ROOT, Decimal(1))]
    while waiting:
        parent, share = waiting.pop()
        below = [child for child in tree.get(parent, ()) if child in there]
        total = sum((weights[child] for child in below), ZERO)
        parts = [(child, share * weights[child] / total) for child in below] if total else []
        waiting += [pair for pair in parts if pair[0] in tree]
        found |= {child: part for child, part in parts if child not in tree}
    return found


def summed(definition: Definition, leaves: Mapping[str, Effect]) -> dict[str, Effect]:
    """With every node above the leaves, up to the root, as the sum of what stands below it."""
    found = dict(leaves)
    for leaf, one in leaves.items():
        for above in above_of(definition, leaf):
            found[above] = found.get(above, Effect()) + one
    return found


def above_of(definition: Definition, code: str) -> list[str]:
    """The nodes above one, the root last."""
    found = []
    while code != ROOT:
        code = definition.nodes[code].parent
        found.append(code)
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """A node of two regions: scores on its scale, points of the index; None where it has none. `difference`: left less right."""

    left: Decimal | None
    right: Decimal | None
    left_points: Decimal | None = None
    right_points: Decimal | None = None

    @property
    def difference(self) -> Decimal | None:
        """In points of the index; a part that one of the two does not have gives it nothing."""
        if self.left_points is None and self.right_points is None:
            return None
        return (self.left_points or ZERO) - (self.right_points or ZERO)


def beside(side: Side, left: str, right: str) -> dict[str, Pair]:
    """By node of the run, the root first: two regions side by side. Differences of leaves add up to that of the index.

    Points are there where the index is a sum, for a region that has one.
    """
    definition, document = side.definition, side.document
    with localcontext(CONTEXT):
        points = [_points(definition, document["contributions"].get(region, {})) for region in (left, right)]
    nodes = [ROOT, *(code for code in definition.nodes if code in document["scores"])]
    scores = {code: document["scores"].get(code, {}) for code in nodes}
    return {
        code: Pair(_known(scores[code].get(left)), _known(scores[code].get(right)), points[0].get(code), points[1].get(code))
        for code in nodes
    }


def _points(definition: Definition, given: Mapping[str, str]) -> dict[str, Decimal]:
    leaves = {leaf: Effect(Decimal(part)) for leaf, part in given.items()}
    return {code: one.data for code, one in summed(definition, leaves).items()}
