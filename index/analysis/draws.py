"""Many runs at once: weights, normalisation, aggregation and treatment drawn, ranks out. Pure, in numpy.

The same tree and rules as `method.scoring`, in binary numbers and for all draws together; a test holds the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from index.trees import ROOT

Array = np.ndarray[Any, np.dtype[np.float64]]
Ranks = np.ndarray[Any, np.dtype[np.int64]]
Tree = Mapping[str, Sequence[str]]
CONCENTRATION: Final = 50.0  # Dirichlet's alpha is so many times the weights
FEWEST: Final = 5  # experts: of fewer nothing can be drawn
PART: Final = 500  # draws at a time, so that they stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Leaves:
    """Scores [leaf, region]; NaN: not known."""

    codes: Sequence[str]
    regions: Sequence[str]
    scores: Array

    @classmethod
    def of(cls, normalised: Mapping[str, Mapping[str, Decimal]]) -> Leaves:
        codes = list(normalised)
        regions = sorted({region for code in codes for region in normalised[code]})
        rows = [[float(normalised[code].get(region, "nan")) for region in regions] for code in codes]
        return cls(codes, regions, np.array(rows, dtype=float).reshape(len(codes), len(regions)))


@dataclass(frozen=True, slots=True)
class Voice:
    """One expert of a panel: the weights that this one gives, and how much they count beside the others'."""

    weights: Mapping[str, Decimal]
    counts: Decimal = Decimal(1)


def drawn_weights(
    tree: Tree, weights: Mapping[str, Decimal], draws: int, seed: int, experts: Sequence[Voice] = ()
) -> dict[str, Array]:
    """[draw] by node. Five experts and more are drawn with replacement; fewer weigh by Dirichlet around the weights."""
    random = np.random.default_rng(seed)
    if len(experts) >= FEWEST:
        return _of_panels(tree, draws, random, experts)
    found: dict[str, Array] = {}
    for below in tree.values():
        shares = np.array([float(weights[child]) for child in below])
        there = shares > 0
        parts = np.zeros((draws, len(below)))
        if there.any():
            parts[:, there] = random.dirichlet(CONCENTRATION * shares[there] / shares.sum(), draws)
        found |= {child: parts[:, place] for place, child in enumerate(below)}
    return found


def _of_panels(tree: Tree, draws: int, random: np.random.Generator, experts: Sequence[Voice]) -> dict[str, Array]:
    """The geometric mean by voices of as many experts as there are, some more than once."""
    chosen = random.integers(0, len(experts), (draws, len(experts)))
    counts = np.array([float(expert.counts) for expert in experts])[chosen]
    counts /= counts.sum(axis=1, keepdims=True)
    found: dict[str, Array] = {}
    for below in tree.values():
        logs = np.log([[max(float(expert.weights[child]), 1e-12) for child in below] for expert in experts])
        parts = np.exp((logs[chosen] * counts[:, :, None]).sum(axis=1))
        parts /= parts.sum(axis=1, keepdims=True)
        found |= {child: parts[:, place] for place, child in enumerate(below)}
    return found


def blended(tree: Tree, weights: Mapping[str, Array], leaves: Leaves, how: str, coverage: float) -> Array:
    """The index [draw, region]; NaN: not known."""
    scores: dict[str, Array] = {code: leaves.scores[place][None, :] for place, code in enumerate(leaves.codes)}
    for parent, below in tree.items():
        scores[parent] = _mean(
            how, [weights[child] for child in below], [scores[child] for child in below], 1.0 if parent == ROOT else coverage
        )
    return scores[ROOT]


def _mean(how: str, weights: Sequence[Array], children: Sequence[Array], coverage: float) -> Array:
    top: Any = 0.0
    below: Any = 0.0
    whole = np.sum(weights, axis=0)[:, None]
    for weight, child in zip(weights, children, strict=True):
        there = ~np.isnan(child)
        value = np.where(there, child, 0.0)
        if how == "geometric":
            value = np.where(there, np.log(np.maximum(1 + 0.99 * value, 1.0)), 0.0)
        elif how == "harmonic":
            value = np.where(there, 1 / np.maximum(1 + 0.99 * value, 1.0), 0.0)
        top = top + weight[:, None] * value
        below = below + weight[:, None] * there
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where((below > 0) & (below >= coverage * whole - 1e-12), top / below, np.nan)
        if how == "geometric":
            return (np.exp(found) - 1) / 0.99
        return (1 / found - 1) / 0.99 if how == "harmonic" else found


def ranked(index: Array) -> Ranks:
    """Ranks [draw, region] of what is known; 0: not known."""
    rounded = np.where(np.isnan(index), -np.inf, np.round(index, 9))
    order = np.argsort(-rounded, axis=1, kind="stable")
    ordered = np.take_along_axis(rounded, order, axis=1)
    places = np.broadcast_to(np.arange(1, index.shape[1] + 1), index.shape).copy()
    same = np.zeros(index.shape, dtype=bool)
    same[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    places[same] = 0
    places = np.maximum.accumulate(places, axis=1)
    found = np.empty(index.shape, dtype=np.int64)
    np.put_along_axis(found, order, places, axis=1)
    return np.where(np.isnan(index), 0, found)


def ranks_of(tree: Tree, weights: Mapping[str, Array], leaves: Leaves, how: str, coverage: float) -> Ranks:
    """The ranks of all draws, a part of them at a time."""
    draws = len(next(iter(weights.values())))
    parts = []
    for start in range(0, draws, PART):
        some = {code: one[start : start + PART] for code, one in weights.items()}
        parts.append(
            ranked(np.broadcast_to(blended(tree, some, leaves, how, coverage), (min(PART, draws - start), len(leaves.regions))))
        )
    return np.concatenate(parts)
