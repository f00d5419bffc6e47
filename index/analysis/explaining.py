"""A region's score in its parts: what it is strong in, what each indicator does to its rank, what would it take. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final

from index.method.numbers import CONTEXT, ZERO, ranks
from index.method.scoring import Method, Result, Table, score, shares_of, without
from index.trees import ROOT, Definition

TOP: Final = 3  # a rank that is always a strength
MOST: Final = 5  # strengths of one region, and weaknesses


@dataclass(frozen=True, slots=True)
class Needed:
    """What one indicator would have to be for the index to reach another's: `value` in its unit, `points` on its scale."""

    leaf: str
    value: Decimal
    change: Decimal
    points: Decimal


def leaf_ranks(result: Result) -> dict[str, dict[str, int]]:
    """By leaf and region, of the normalised scores: 1 is the best."""
    return {leaf: ranks(dict(scores)) for leaf, scores in result.normalised.items() if scores}


def strengths(result: Result, region: str) -> tuple[list[str], list[str]]:
    """(strengths, weaknesses) of a region by the share of the others that it is before, best and worst first.

    After the Global Innovation Index: a rank of TOP is always a strength, and the last TOP always a weakness.
    """
    found = leaf_ranks(result)
    share = {leaf: Decimal(places[region] - 1) / max(len(places) - 1, 1) for leaf, places in found.items() if region in places}
    strong = [leaf for leaf in share if found[leaf][region] <= TOP]
    weak = [leaf for leaf in share if len(found[leaf]) - found[leaf][region] < TOP and leaf not in strong]
    best = sorted(share, key=lambda leaf: (share[leaf], leaf))
    more = [leaf for leaf in best[:MOST] if share[leaf] < Decimal("0.5") and leaf not in weak]
    less = [leaf for leaf in best[::-1][:MOST] if share[leaf] > Decimal("0.5") and leaf not in strong]
    keep = dict.fromkeys([*strong, *more]), dict.fromkeys([*weak, *less])
    return sorted(keep[0], key=lambda leaf: (share[leaf], leaf)), sorted(keep[1], key=lambda leaf: (-share[leaf], leaf))


def left_out(
    definition: Definition, profile: str, weights: Mapping[str, Decimal], observed: Table, method: Method, base: Result
) -> dict[str, dict[str, int]]:
    """By leaf and region: how many ranks the region gains (+) or loses (-) where that indicator is not there."""
    found = {}
    for leaf in base.normalised:
        other = score(definition, profile, weights, observed, without(method, leaf)).ranks
        found[leaf] = {region: rank - other[region] for region, rank in base.ranks.items() if region in other}
    return found


def needed(definition: Definition, profile: str, method: Method, result: Result, region: str, other: str) -> list[Needed]:
    """By which change of one indicator alone the region's index reaches the other's, the smallest on its scale first.

    Of an arithmetic mean of a linear scale, where the indicator stays between the least and the greatest there are: the closed
    form. Indicators of which the logarithm stands, and those that cannot make it up alone, are left out.
    """
    if method.aggregate != "arithmetic" or method.normalise not in {"minmax", "efficacy"} or region not in result.contributions:
        return []
    with localcontext(CONTEXT):
        gap = result.scores[ROOT][other] - result.scores[ROOT][region]
        found = [_needed(definition, result, leaf, region, gap) for leaf in result.contributions[region]]
        return sorted((one for one in found if one), key=lambda one: (abs(one.points), one.leaf))


def _needed(definition: Definition, result: Result, leaf: str, region: str, gap: Decimal) -> Needed | None:
    score_, part = result.normalised[leaf][region], result.contributions[region][leaf]
    share = part / score_ if score_ else ZERO  # of a score of 0 the part says nothing of the share
    if not share or any(flag in {"logged", "winsorised"} and one == leaf for one, _, flag, _ in result.flags):
        return None
    points = gap / share
    values, scores = result.treated[leaf], result.normalised[leaf]
    ends = sorted(scores, key=lambda one: scores[one])
    low, high = ends[0], ends[-1]
    if not scores[low] <= score_ + points <= scores[high]:
        return None
    slope = (values[high] - values[low]) / (scores[high] - scores[low])
    return Needed(leaf, values[region] + points * slope, points * slope, points)


def swapping_weight(
    weights: Mapping[str, Decimal], children: Sequence[str], scores: Table, node: str, one: str, other: str
) -> Decimal | None:
    """The share of one child of the root at which two regions stand level, the others keeping their proportions. None: at no share.

    From I(w) = w S + (1 - w) R, where R is the mean of the other children.
    """
    with localcontext(CONTEXT):
        rest = [child for child in children if child != node]
        total = sum((weights[child] for child in rest), ZERO)
        if not total:
            return None
        apart = {region: sum((weights[child] * scores[child][region] for child in rest), ZERO) / total for region in (one, other)}
        slope = (scores[node][one] - apart[one]) - (scores[node][other] - apart[other])
        if not slope:
            return None
        share = (apart[other] - apart[one]) / slope
        return share if 0 <= share <= 1 else None


def effective(definition: Definition, profile: str, weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Every leaf's share of the whole."""
    with localcontext(CONTEXT):
        return shares_of(definition.tree(profile), weights)
