"""Between which ranks a region stands when what was chosen is chosen otherwise: weights, normalisation, mean, treatment. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from itertools import product
from typing import Any, Final

import numpy as np

from index.analysis.draws import Array, Leaves, Ranks, Voice, drawn_weights, ranks_of
from index.method.normalising import normalise
from index.method.numbers import CONTEXT
from index.method.scoring import Method, Table, pruned, values_of
from index.method.treating import treat
from index.trees import Definition

NORMALISERS: Final = ("minmax", "zscore", "prank")
AGGREGATORS: Final = ("arithmetic", "geometric")
LIMITS: Final = (0, 1, 2, 3)
DRAWS: Final = 2_000
FACTORS: Final = ("weights", "normalise", "aggregate", "winsorise")


@dataclass(frozen=True, slots=True)
class Band:
    """Ranks that 5, 50 and 95 of 100 draws do not pass, and how often the region is among the first five."""

    low: int
    middle: int
    high: int
    first_five: float


@dataclass(frozen=True)
class World:
    """All that a draw chooses among: leaves by (normalisation, limit), each with its pruned tree; weights of every draw."""

    regions: Sequence[str]
    leaves: Mapping[tuple[str, int], Leaves]
    tree: Mapping[str, Sequence[str]]
    weights: Mapping[str, Array]
    coverage: float

    def ranks(self, which: Ranks, normaliser: str, aggregator: str, limit: int) -> Ranks:
        """[draw, region] of the draws of these numbers."""
        chosen = {code: one[which] for code, one in self.weights.items()}
        return ranks_of(self.tree, chosen, self.leaves[normaliser, limit], aggregator, self.coverage)


def world_of(
    definition: Definition, profile: str, weights: Mapping[str, Decimal], observed: Table, method: Method, draws: int, seed: int,
    experts: Sequence[Voice] = (),
) -> World | None:  # fmt: skip
    """None where nothing has a value."""
    with localcontext(CONTEXT):
        raw, _ = values_of(definition, profile, observed, method)
        leaves = {
            (how, limit): Leaves.of(_normalised(definition, profile, raw, replace(method, normalise=how, winsorise=limit)))
            for how, limit in product(NORMALISERS, LIMITS)
        }
    first = leaves[NORMALISERS[0], 0]
    if not first.regions:
        return None
    tree = pruned(definition.tree(profile), set(first.codes))
    return World(first.regions, leaves, tree, drawn_weights(tree, weights, draws, seed, experts), float(method.min_coverage))


def _normalised(definition: Definition, profile: str, raw: Table, method: Method) -> dict[str, dict[str, Decimal]]:
    found: dict[str, dict[str, Decimal]] = {}
    for node in definition.leaves(profile):
        if node.code not in method.left_out:
            values = treat(raw[node.code], method.winsorise).values
            scored = normalise(values, node.direction, method.normalise, None, None)
            found |= {} if scored is None else {node.code: scored}
    return found


def bands_of(world: World, seed: int) -> dict[str, Band]:
    """Every draw has its own weights, and one of the ways to normalise, to take means and to treat."""
    draws = len(next(iter(world.weights.values())))
    ways = list(product(NORMALISERS, AGGREGATORS, LIMITS))
    chosen = np.random.default_rng(seed + 1).integers(0, len(ways), draws)
    ranks = np.zeros((draws, len(world.regions)), dtype=np.int64)
    for number, way in enumerate(ways):
        which = np.flatnonzero(chosen == number)
        if which.size:
            ranks[which] = world.ranks(which, *way)
    return {region: band for place, region in enumerate(world.regions) if (band := _band(ranks[:, place]))}


def _band(ranks: Ranks) -> Band | None:
    known = np.sort(ranks[ranks > 0])
    if not known.size:
        return None
    low, middle, high = (int(known[min(int(share * known.size), known.size - 1)]) for share in (0.05, 0.5, 0.95))
    return Band(low, middle, high, round(float((known <= 5).mean()), 4))


def sensitivity(world: World, base: Mapping[str, int], seed: int, size: int = 256) -> dict[str, tuple[float, float]]:
    """Sobol's indices (first order, total) of the mean shift of ranks from the run's own, by what is chosen.

    size  a power of two; it takes size * 6 runs. After Saltelli et al. (2010).
    """
    from scipy import stats  # half a second of every start, and 40 MB: only who analyses pays for it

    expected = np.array([base.get(region, 0) for region in world.regions])

    def shift(choices: Array) -> Array:
        return _shift(world, expected, choices)

    uniform = [stats.uniform()] * len(FACTORS)
    found: Any = stats.sobol_indices(func=shift, n=size, dists=uniform, rng=np.random.default_rng(seed + 2))
    pairs = zip(found.first_order, found.total_order, strict=True)
    values = [tuple(round(float(np.nan_to_num(one)), 4) for one in pair) for pair in pairs]
    return {factor: (value[0], value[1]) for factor, value in zip(FACTORS, values, strict=True)}


def _shift(world: World, expected: Ranks, choices: Array) -> Array:
    """[4, run] in [0, 1) -> the mean absolute shift of ranks of each."""
    draws = len(next(iter(world.weights.values())))
    sizes = (draws, len(NORMALISERS), len(AGGREGATORS), len(LIMITS))
    which, *how = (np.minimum((choice * size).astype(np.int64), size - 1) for choice, size in zip(choices, sizes, strict=True))
    found = np.zeros(choices.shape[1])
    for numbers in product(*(range(size) for size in sizes[1:])):
        here = np.flatnonzero(np.logical_and.reduce([one == number for one, number in zip(how, numbers, strict=True)]))
        if here.size:
            ranks = world.ranks(which[here], NORMALISERS[numbers[0]], AGGREGATORS[numbers[1]], LIMITS[numbers[2]])
            known = (ranks > 0) & (expected > 0)
            found[here] = (np.abs(ranks - expected) * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return found
