"""How good the data of a run are: what is known, from where, what was done to it, and what says the same twice. Pure.

After the JRC's working rule, a region and an indicator need 65 % of what could be known; after its COIN Tool, pairs of indicators
that go together by more than 0.9 are told, for one of them may be redundant, as are indicators of which one region has more than
half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

COVERED: Final = 0.65
TOGETHER: Final = 0.9
HALF: Final = 0.5
FEWEST: Final = 5  # regions of which both are known
KNOWN: Final = "known"
GENERATED: Final = "generated"
IMPUTED: Final = "imputed"
MISSING: Final = "missing"
STATES: Final = (MISSING, IMPUTED, GENERATED, KNOWN)  # from nothing to the best
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two indicators with the correlation of their scores over n regions."""

    one: str
    other: str
    r: float
    n: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What is said of a run's data.

    states      by leaf and region, one of STATES
    by_leaf     share of the regions of which the leaf is known, imputed values not counted
    by_region   share of the leaves that are known of the region
    dominated   leaf -> (region, share): one region has more than half of all
    pairs       every two leaves, the strongest first
    flat        leaves of which all values are equal
    """

    states: Mapping[str, Mapping[str, str]]
    by_leaf: Values
    by_region: Values
    dominated: Mapping[str, tuple[str, float]]
    pairs: Sequence[Pair]
    flat: Sequence[str]

    @property
    def redundant(self) -> list[Pair]:
        return [pair for pair in self.pairs if abs(pair.r) > TOGETHER]

    def thin(self) -> tuple[list[str], list[str]]:
        """(leaves, regions) of which less is known than the rule asks for."""
        few = ([name for name, share in shares.items() if share < COVERED] for shares in (self.by_leaf, self.by_region))
        return next(few), next(few)


def quality_of(
    leaves: Sequence[str], regions: Sequence[str], raw: Mapping[str, Values], scores: Mapping[str, Values],
    generated: Iterable[tuple[str, str]], imputed: Iterable[tuple[str, str]],
) -> Quality:  # fmt: skip
    """generated, imputed  (leaf, region) of values that rest on such; an imputed one is imputed whatever else it rests on."""
    made, filled = set(generated), set(imputed)
    states = {leaf: {region: _state(leaf, region, raw, made, filled) for region in regions} for leaf in leaves}
    known = {leaf: {region: row[region] in {KNOWN, GENERATED} for region in regions} for leaf, row in states.items()}
    return Quality(
        states,
        {leaf: _share(row.values()) for leaf, row in known.items()},
        {region: _share(known[leaf][region] for leaf in leaves) for region in regions},
        {leaf: found for leaf in leaves if (found := _dominant(raw.get(leaf, {})))},
        correlations({leaf: scores[leaf] for leaf in leaves if leaf in scores}),
        [leaf for leaf in leaves if len(row := raw.get(leaf, {})) > 1 and len(set(row.values())) == 1],
    )


def _state(leaf: str, region: str, raw: Mapping[str, Values], made: set[tuple[str, str]], filled: set[tuple[str, str]]) -> str:
    if region not in raw.get(leaf, {}):
        return MISSING
    return IMPUTED if (leaf, region) in filled else GENERATED if (leaf, region) in made else KNOWN


def _share(known: Iterable[bool]) -> float:
    told = list(known)
    return sum(told) / len(told) if told else 0.0


def _dominant(values: Values) -> tuple[str, float] | None:
    """Of what can be added up: nothing below zero, and more than one region."""
    total = sum(values.values())
    if len(values) < FEWEST or total <= 0 or min(values.values()) < 0:
        return None
    region = max(values, key=lambda one: (values[one], one))
    share = values[region] / total
    return (region, share) if share > HALF else None


def correlations(scores: Mapping[str, Values]) -> list[Pair]:
    """Pearson's r of every two indicators over the regions that have both, where there are enough and both differ."""
    names = sorted(scores)
    regions = sorted({region for row in scores.values() for region in row})
    table = np.array([[scores[name].get(region, np.nan) for region in regions] for name in names], dtype=float)
    found = [
        pair for at, one in enumerate(names) for after, other in enumerate(names[at + 1 :], at + 1)
        if (pair := _pair(one, other, table[at], table[after]))
    ]  # fmt: skip
    return sorted(found, key=lambda pair: (-abs(pair.r), pair.one, pair.other))


def _pair(one: str, other: str, x: np.ndarray, y: np.ndarray) -> Pair | None:
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    dx, dy = x - x.mean(), y - y.mean()
    size = float(np.sqrt((dx @ dx) * (dy @ dy)))
    return Pair(one, other, max(-1.0, min(1.0, float(dx @ dy) / size)), len(x)) if size else None
