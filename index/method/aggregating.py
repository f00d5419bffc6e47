"""Children's scores as their parent's. Pure.

arithmetic  sum w s / sum w
geometric   exp(sum w ln s' / sum w), s' = 1 + 0.99 s: scores on [1, 100], so that a 0 does not end all
harmonic    sum w / sum (w / s'), on the same scale
copeland    of all others, how many are outranked less how many outrank, scaled to [0, 100]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from index.method.numbers import HUNDRED, ZERO, weighted

Scores = Mapping[str, Mapping[str, Decimal]]  # child -> region -> score
_SHIFT: Final = Decimal("0.99")
_LEAST: Final = Decimal(1)


def aggregate(
    how: str, children: Sequence[str], weights: Mapping[str, Decimal], scores: Scores, coverage: Decimal
) -> dict[str, Decimal]:
    """The parent's score of each region of which children with at least that share of the weight are known."""
    total = sum((weights[child] for child in children), ZERO)
    regions = dict.fromkeys(region for child in children for region in scores[child])
    covered = {region: [child for child in children if region in scores[child]] for region in regions}
    enough = [
        region for region, there in covered.items()
        if total and sum((weights[child] for child in there), ZERO) >= coverage * total and any(weights[child] for child in there)
    ]  # fmt: skip
    if how == "copeland":
        return _copeland(enough, covered, weights, scores)
    return {region: mean_of(how, [(weights[child], scores[child][region]) for child in covered[region]]) for region in enough}


def mean_of(how: str, pairs: Sequence[tuple[Decimal, Decimal]]) -> Decimal:
    """The mean of (weight, score), by the weights that are there."""
    if how == "arithmetic" or len(pairs) == 1:
        top, below = weighted(pairs)
        return top / below
    if how == "geometric":
        top, below = weighted((weight, scaled(score).ln()) for weight, score in pairs)
        return unscaled((top / below).exp())
    top, below = weighted((weight, 1 / scaled(score)) for weight, score in pairs)
    return unscaled(below / top)


def scaled(score: Decimal) -> Decimal:
    """[0, 100] as [1, 100]; what is below stands at 1."""
    return max(_LEAST + _SHIFT * score, _LEAST)


def unscaled(score: Decimal) -> Decimal:
    return (score - _LEAST) / _SHIFT


def _copeland(
    regions: Sequence[str], covered: Mapping[str, Sequence[str]], weights: Mapping[str, Decimal], scores: Scores
) -> dict[str, Decimal]:
    """Each two are compared by the children that both have."""
    if len(regions) < 2:
        return dict.fromkeys(regions, HUNDRED / 2)
    won = dict.fromkeys(regions, 0)
    for place, one in enumerate(regions):
        for other in regions[place + 1 :]:
            balance = ZERO
            for child in covered[one]:
                if other in scores[child]:
                    balance += weights[child] * _sign(scores[child][one] - scores[child][other])
            won[one] += _sign(balance)
            won[other] -= _sign(balance)
    most = len(regions) - 1
    return {region: HUNDRED * (won[region] + most) / (2 * most) for region in regions}


def _sign(value: Decimal) -> int:
    return (value > 0) - (value < 0)
