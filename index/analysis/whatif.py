"""What if the weights or the method were others: a run's own values, weighed and computed as somebody likes. Pure.

Ratings from 0 to 5 become weights among siblings: a rating by the sum of all, as the OECD's Better Life Index does (two topics at 5
and nine at 3 weigh 5/37 and 3/37). Only the two upper levels are rated; below them the run's weights stand. Nothing of it is kept,
and none of it can be published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Final

from core.errors import Invalid
from index.analysis.explaining import swapping_weight
from index.method.numbers import CONTEXT, ZERO, ranks
from index.method.scoring import Method, Table, score
from index.schema import AGGREGATORS
from index.trees import ROOT, Definition, Node
from index.units import UNITS

MOST: Final = 5
MIDDLE: Final = 3
NORMALISERS: Final = ("minmax", "efficacy", "zscore", "rank", "prank")
AGGREGATES: Final = AGGREGATORS
TREATED: Final = 10  # the most values of an indicator that may be winsorised
PER: Final = "per"  # eflops: the score by the region's capacity, an intensity
CHANGES: Final = ("normalise", "aggregate", "winsorise", "min_coverage", PER)
CAPACITY: Final = {
    "national": ("dc_general", "private_general", "dc_ai", "private_ai", "dc_super"),
    "platform": ("live_fp32_general", "live_fp32_ai", "live_fp32_super"),
}
OWN: Final = "weights"


@dataclass(frozen=True, slots=True)
class Question:
    """`ratings` by node, empty: the run's own weights; `changes` of the run's method by name."""

    ratings: Mapping[str, int]
    changes: Mapping[str, Any]

    @property
    def asked(self) -> dict[str, str]:
        """It in a query, as `read_question` reads it: the shortest, in a fixed order."""
        ratings = {code: str(rating) for code, rating in self.ratings.items() if rating != MIDDLE}
        own = {OWN: "own"} if self.ratings and not ratings else {}
        return own | ratings | {name: str(self.changes[name]) for name in CHANGES if name in self.changes}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a region would stand, and where it does; None: without a score there."""

    region: str
    rank: int | None
    score: Decimal | None
    rank_before: int | None
    score_before: Decimal | None

    @property
    def gained(self) -> int | None:
        """Ranks won (+) or lost (-)."""
        return None if self.rank is None or self.rank_before is None else self.rank_before - self.rank


@dataclass(frozen=True, slots=True)
class Answer:
    """Where regions would stand, with the weights and the scores of all nodes that it comes from."""

    places: list[Place]
    weights: Mapping[str, Decimal]
    scores: Table
    linear: bool  # whether the index is a weighted mean of the first level's scores


def rated(definition: Definition) -> list[Node]:
    """What may be rated: the first level, and below each of it the next one where that has more than one member."""
    below = {top.code: definition.children(top.code) for top in definition.children(ROOT)}
    return [one for top, nodes in below.items() for one in (definition.nodes[top], *(nodes if len(nodes) > 1 else ()))]


def shares(definition: Definition, weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Of everything that may be rated: its share among its siblings, of 1."""
    nodes = rated(definition)
    total = {parent: sum(weights[one.code] for one in nodes if one.parent == parent) for parent in {one.parent for one in nodes}}
    return {one.code: weights[one.code] / total[one.parent] if total[one.parent] else Decimal(0) for one in nodes}


def read_question(definition: Definition, given: Mapping[str, str]) -> Question:
    """Invalid `rating_invalid`, `ratings_zero`, `parameters_invalid`, each with its field. What is left out stays as it is."""
    known = [node.code for node in rated(definition)]
    for name in given:
        if name not in {*known, *CHANGES, OWN}:
            raise Invalid("parameters_invalid", f"{name[:40]} is neither rated nor of the method", field=name[:100])
    whose = _one_of(OWN, given.get(OWN) or "own", ("own", "run"))
    ratings = {code: _rating(code, given[code]) for code in known if given.get(code)}
    if whose == "run":
        ratings = {}
    elif ratings or given.get(OWN):
        ratings = {code: ratings.get(code, MIDDLE) for code in known}
    for group in dict.fromkeys(definition.nodes[code].parent for code in ratings):
        siblings = [code for code in ratings if definition.nodes[code].parent == group]
        if not any(ratings[code] for code in siblings):
            raise Invalid("ratings_zero", f"of {', '.join(siblings)} one must count", field=siblings[0])
    return Question(ratings, {name: _READERS[name](given[name]) for name in CHANGES if given.get(name)})


def _rating(code: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) == 1 and int(text) <= MOST):
        raise Invalid("rating_invalid", f"a rating is a whole number from 0 to {MOST}", field=code)
    return int(text)


def _normaliser(text: str) -> str:
    return _one_of("normalise", text, NORMALISERS)


def _aggregate(text: str) -> str:
    return _one_of("aggregate", text, AGGREGATES)


def _one_of(name: str, text: str, known: tuple[str, ...]) -> str:
    if text not in known:
        raise Invalid("parameters_invalid", f"{name} is one of {', '.join(known)}", field=name)
    return text


def _treated(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 3 and int(text) <= TREATED):
        raise Invalid("parameters_invalid", f"winsorise is a whole number from 0 to {TREATED}", field="winsorise")
    return int(text)


def _coverage(text: str) -> Decimal:
    try:
        share = Decimal(text)
    except InvalidOperation:
        share = Decimal(-1)
    if not (share.is_finite() and 0 <= share <= 1):
        raise Invalid("parameters_invalid", "min_coverage is a number from 0 to 1", field="min_coverage")
    return round(share, 4)


def _per(text: str) -> str:
    return _one_of("per", text, ("eflops",))


_READERS: Final = {
    "normalise": _normaliser, "aggregate": _aggregate, "winsorise": _treated, "min_coverage": _coverage, "per": _per,
}  # fmt: skip


def weights_by(weights: Mapping[str, Decimal], question: Question) -> dict[str, Decimal]:
    """The run's weights with the ratings in the place of those that were rated. Weights are of any sum among siblings."""
    return dict(weights) | {code: Decimal(rating) for code, rating in question.ratings.items()}


def answer(
    definition: Definition, profile: str, weights: Mapping[str, Decimal], values: Table, method: Method, question: Question,
    before: Mapping[str, Any],
) -> Answer:  # fmt: skip
    """Every region that has a score in either, the best first.

    before  {scores: {node: {region: text}}, ranks: {region: rank}} of the run
    """
    other = _method(method, question)
    own = weights_by(weights, question)
    found = score(definition, profile, own, values, other)
    scores, told = found.scores.get(ROOT, {}), found.ranks
    if PER in question.changes:
        scores = _by_capacity(scores, capacity(definition, profile, values))
        told = ranks(scores)
    linear = other.aggregate == "arithmetic" and PER not in question.changes
    return Answer(_places(scores, told, before), own, found.scores, linear)


def _method(method: Method, question: Question) -> Method:
    """The run's with what is asked. Another scale or limit is of the run's own values: what its base did ends there."""
    other = replace(method, **{name: value for name, value in question.changes.items() if name != PER})
    if {"normalise", "winsorise"} & question.changes.keys():
        return replace(other, goalposts={}, treatment={})
    return other


def _places(scores: Mapping[str, Decimal], told: Mapping[str, int], before: Mapping[str, Any]) -> list[Place]:
    was = before["scores"].get(ROOT, {})
    places = [
        Place(
            region, told.get(region), scores.get(region), before["ranks"].get(region),
            Decimal(was[region]) if region in was else None,
        )
        for region in sorted(told.keys() | before["ranks"].keys())
    ]  # fmt: skip
    return sorted(places, key=lambda place: (place.rank is None, place.rank or 0, place.region))


def capacity(definition: Definition, profile: str, values: Table) -> dict[str, Decimal]:
    """EFLOPS (FP32) by region, of all kinds, where every kind is known. Invalid `parameters_invalid` if a kind was never seen."""
    names = CAPACITY[profile]
    if any(not values.get(name) for name in names):
        raise Invalid("parameters_invalid", "the run has not seen the capacity of all kinds", field=PER)
    regions = sorted(set.intersection(*(set(values[name]) for name in names)))
    with localcontext(CONTEXT):
        parts = {name: definition.variables[name].unit.factor / UNITS["EFLOPS_FP32"].factor for name in names}
        return {region: sum((values[name][region] * part for name, part in parts.items()), ZERO) for region in regions}


def _by_capacity(scores: Mapping[str, Decimal], capacities: Mapping[str, Decimal]) -> dict[str, Decimal]:
    with localcontext(CONTEXT):
        return {region: one / capacities[region] for region, one in scores.items() if capacities.get(region)}


def swaps(
    definition: Definition, profile: str, weights: Mapping[str, Decimal], scores: Table, one: str, other: str
) -> dict[str, Decimal]:
    """By first level: at which share of the whole two regions change places, the others keeping their proportions."""
    tops = [top for top in definition.tree(profile)[ROOT] if scores.get(top)]
    if any(region not in scores[top] for top in tops for region in (one, other)):
        return {}
    found = {top: swapping_weight(weights, tops, scores, top, one, other) for top in tops}
    return {top: share for top, share in found.items() if share is not None}
