"""What a run writes down: its result and its analysis as documents, the same bytes for the same inputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from index.analysis.bands import bands_of, sensitivity, world_of
from index.analysis.draws import FEWEST, Voice
from index.analysis.explaining import left_out, needed, strengths
from index.method.numbers import stored
from index.method.scoring import Method, Result, Table, score
from index.method.treating import Done
from index.trees import ROOT, Definition

FORMAT: Final = 1
SEED: Final = 20_230_701
DRAWS: Final = 2_000
CHANGES: Final = ("normalise", "aggregate", "min_coverage", "winsorise", "restandardise", "impute")


def method_of(definition: Definition, parameters: Mapping[str, Any]) -> Method:
    """The definition's method with the run's changes, and the goalposts and the treatment of its base."""
    changes = {name: parameters[name] for name in CHANGES if name in parameters}
    posts = {leaf: (Decimal(low), Decimal(high)) for leaf, (low, high) in parameters.get("goalposts", {}).items()}
    treatment = {
        leaf: Done(**{part: Decimal(value) for part, value in done.items()})
        for leaf, done in parameters.get("treatment", {}).items()
    }
    return replace(Method.of(definition, changes), goalposts=posts, treatment=treatment)


def compute(
    definition: Definition, profile: str, weights: Mapping[str, Decimal], values: Table, parameters: Mapping[str, Any]
) -> tuple[Result, dict[str, Any]]:
    """The scores, and the document of them."""
    result = score(definition, profile, weights, values, method_of(definition, parameters))
    return result, result_document(definition, profile, parameters, result)


def result_document(definition: Definition, profile: str, parameters: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """Decimal text of twelve places; ranks are whole numbers."""
    head = {"format": FORMAT, "definition": definition.title, "definition_digest": definition.digest, "profile": profile}
    tables = {name: _table(getattr(result, name)) for name in ("raw", "treated", "normalised", "scores", "contributions")}
    flat = {"weights": _row(result.weights), "coverage": _row(result.coverage), "ranks": dict(sorted(result.ranks.items()))}
    return head | {"parameters": dict(parameters)} | tables | flat | {"flags": [list(flag) for flag in result.flags]}


def voices_of(experts: Sequence[Mapping[str, Any]]) -> list[Voice]:
    """Experts as a set of weights holds them and a bundle carries them: [{voice, weights: {node: decimal text}}]."""
    return [Voice({code: Decimal(value) for code, value in one["weights"].items()}, Decimal(one["voice"])) for one in experts]


def drawn_among(experts: Sequence[Any]) -> int:
    """Of how many experts a band's weights are drawn; 0: they are too few, and weights are drawn around the set's own."""
    return len(experts) if len(experts) >= FEWEST else 0


def analyse(
    definition: Definition, profile: str, weights: Mapping[str, Decimal], values: Table, parameters: Mapping[str, Any],
    result: Result, experts: Sequence[Voice] = (),
) -> dict[str, Any]:  # fmt: skip
    """Bands, sensitivity, what leaving out one indicator does, strengths, and what it would take to reach the next one."""
    method = method_of(definition, parameters)
    seed, draws = int(parameters.get("seed", SEED)), int(parameters.get("draws", DRAWS))
    world = world_of(definition, profile, weights, values, method, draws, seed, experts)
    found: dict[str, Any] = {"format": FORMAT, "bands": {}, "sensitivity": {}, "left_out": {}, "strengths": {}, "needed": {}}
    if world is None or not result.ranks:
        return found
    pairs = {region: strengths(result, region) for region in sorted(result.ranks)}
    return found | {
        "bands": {region: asdict(band) for region, band in sorted(bands_of(world, seed).items())},
        "sensitivity": {factor: list(pair) for factor, pair in sensitivity(world, result.ranks, seed).items()},
        "left_out": {
            leaf: dict(sorted(shifts.items()))
            for leaf, shifts in left_out(definition, profile, weights, values, method, result).items()
        },
        "strengths": {region: {"strong": strong, "weak": weak} for region, (strong, weak) in pairs.items()},
        "needed": _to_the_next(definition, profile, method, result),
    }


def _to_the_next(definition: Definition, profile: str, method: Method, result: Result) -> dict[str, Any]:
    """By region: who is next above it, and the three smallest changes that would do."""
    order = sorted(result.ranks, key=lambda region: (result.ranks[region], region))
    found = {}
    for above, region in pairwise(order):
        ways = needed(definition, profile, method, result, region, above)[:3]
        told = [
            {"leaf": one.leaf, "value": _text(one.value), "change": _text(one.change), "points": _text(one.points)} for one in ways
        ]
        found[region] = {"above": above, "gap": _text(result.scores[ROOT][above] - result.scores[ROOT][region]), "ways": told}
    return found


def _table(table: Table) -> dict[str, dict[str, str]]:
    return {name: _row(values) for name, values in table.items()}


def _row(values: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: _text(value) for name, value in sorted(values.items())}


def _text(value: Decimal) -> str:
    return format(stored(value), "f")
