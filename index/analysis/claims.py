"""Public statements beside a run: what the run gives, whether that agrees, and why the two can or cannot be compared. Pure.

A claim is data (index/data/claims_2023.yaml): a quotation with its place, and a kind that says how it is looked at.

    structure       of: level_1 | level_2 | level_3 | regions | fp32_scales; number
    ranks           node or leaf; regions stand between the ranks low and high
    scores, values  node, or variable or leaf; each of the regions has at least `least`
    first           variable or leaf; the regions are the first ones, in any order
    mostly_below    variable; more than half of a group is below `most`
    above_mean, below_mean   node or leaf; each of the regions against the mean of all
    share           leaf; the regions together have at least `least` of all
    groups          node or leaf; the mean of `group` is above that of `below`
    correlation     variable; the slope against the index is above zero with its whole interval
    type            the regions are of this type by the rule of index/analysis/types.py
    arithmetic      the printed numbers against each other
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import prod
from typing import Any, Final

from index.analysis.types import line_of
from index.regions import PROVINCES
from index.trees import ROOT, Definition

AGREES: Final = "agrees"
DIFFERS: Final = "differs"
UNKNOWN: Final = "unknown"
PERIOD: Final = "2022"
TREE: Final = "cpsdi-2023"
Values = Mapping[str, float]
Claim = Mapping[str, Any]
_CODES: Final = {one.short: one.code for one in PROVINCES.values()}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run gives to compare with. Tables are {code: {region: value}}; `groups` are regions by the names that claims use."""

    definition: Definition
    profile: str
    period: str
    synthetic: bool
    scores: Mapping[str, Values]
    raw: Mapping[str, Values]
    variables: Mapping[str, Values]
    groups: Mapping[str, Sequence[str]]

    def of(self, claim: Claim) -> Values:
        """The values that a claim is about."""
        if "node" in claim:
            return self.scores.get(claim["node"], {})
        return self.raw.get(claim["leaf"], {}) if "leaf" in claim else self.variables.get(claim["variable"], {})


@dataclass(frozen=True, slots=True)
class Finding:
    """`found`: what this run gives, in words; `reasons`: why it cannot be compared with the statement in earnest, if so."""

    claim: Claim
    verdict: str
    found: str
    reasons: tuple[str, ...]

    @property
    def comparable(self) -> bool:
        return not self.reasons


def judge(claim: Claim, facts: Facts) -> Finding:
    """A finding of one claim. What is not known of all the regions it names is unknown, never a difference."""
    verdict, found = _KINDS[claim["kind"]](claim, facts)
    return Finding(claim, verdict, found, tuple(_reasons(claim, facts)))


def _reasons(claim: Claim, facts: Facts) -> list[str]:
    if claim["kind"] == "arithmetic":  # nothing of a run is in it
        return []
    code = facts.definition.code
    other = [] if code == TREE else [f"another tree: the statement is of {TREE}, the run of {code}"]
    return other if claim["kind"] == "structure" else other + _of_numbers(claim, facts)


def _of_numbers(claim: Claim, facts: Facts) -> list[str]:
    reasons = [] if facts.profile == "national" else ["another profile: what this platform counts is no statistic of a province"]
    if facts.period != PERIOD:
        reasons.append(f"another period: the statement is of {PERIOD}, the run of {facts.period}")
    if "node" in claim or claim["kind"] in {"correlation", "type"}:
        reasons.append("the weights differ: the report prints none")
    reasons.append("generated values are in the run" if facts.synthetic else "the data differ: the report prints none")
    return reasons


def _structure(claim: Claim, facts: Facts) -> tuple[str, str]:
    tree = facts.definition
    first = tree.children(ROOT)
    second = [node for top in first for node in tree.children(top.code)]
    scales = [node for node in tree.nodes.values() if node.unit and node.unit.code == "EFLOPS_FP32"]
    numbers = {"level_1": first, "level_2": second, "level_3": tree.leaves("national"), "regions": PROVINCES, "fp32_scales": scales}
    found = len(numbers[claim["of"]])
    return _verdict(found == int(claim["number"])), f"{tree.title} has {found}"


def _ranks(claim: Claim, facts: Facts) -> tuple[str, str]:
    values = facts.of(claim)
    regions = _known(claim, values)
    ranks = {region: 1 + sum(other > values[region] for other in values.values()) for region in regions}
    return _each(claim, ranks, lambda rank: claim["low"] <= rank <= claim["high"], "{:.0f}")


def _at_least(claim: Claim, facts: Facts) -> tuple[str, str]:
    values = facts.of(claim)
    least = float(claim["least"])
    return _each(claim, {region: values[region] for region in _known(claim, values)}, lambda value: value >= least)


def _first(claim: Claim, facts: Facts) -> tuple[str, str]:
    values, named = facts.of(claim), _named(claim)
    best = sorted(values, key=lambda region: (-values[region], region))[: len(named)]
    if len(values) <= len(named):
        return UNKNOWN, "not enough is known"
    return _verdict(set(best) == set(named)), "first are " + ", ".join(PROVINCES[region].en for region in best)


def _mostly_below(claim: Claim, facts: Facts) -> tuple[str, str]:
    values = facts.of(claim)
    known = [values[region] for region in _group(facts, claim["group"]) if region in values]
    if not known:
        return UNKNOWN, "not known"
    below = sum(value < float(claim["most"]) for value in known)
    return _verdict(2 * below > len(known)), f"{below} of {len(known)} are below {claim['most']}"


def _above_mean(claim: Claim, facts: Facts) -> tuple[str, str]:
    return _by_mean(claim, facts, above=True)


def _below_mean(claim: Claim, facts: Facts) -> tuple[str, str]:
    return _by_mean(claim, facts, above=False)


def _by_mean(claim: Claim, facts: Facts, above: bool) -> tuple[str, str]:
    values = facts.of(claim)
    mean = _mean(list(values.values())) if values else 0.0
    known = {region: values[region] for region in _known(claim, values)}
    verdict, found = _each(claim, known, lambda value: value > mean if above else value < mean)
    return verdict, f"{found}; the mean is {mean:.2f}" if values else found


def _share(claim: Claim, facts: Facts) -> tuple[str, str]:
    values, named = facts.of(claim), _named(claim)
    if not sum(values.values()) or any(region not in values for region in named):
        return UNKNOWN, "not known of all of them"
    share = sum(values[region] for region in named) / sum(values.values())
    return _verdict(share >= float(claim["least"])), f"together they have {share:.1%}"


def _groups(claim: Claim, facts: Facts) -> tuple[str, str]:
    values = facts.of(claim)
    sides = [[values[one] for one in _group(facts, claim[side]) if one in values] for side in ("group", "below")]
    if not all(sides):
        return UNKNOWN, "not known"
    one, other = map(_mean, sides)
    return _verdict(one > other), f"the means are {one:.2f} and {other:.2f}"


def _correlation(claim: Claim, facts: Facts) -> tuple[str, str]:
    line = line_of(facts.scores.get(ROOT, {}), facts.of(claim))
    if line is None:
        return UNKNOWN, "too few regions are known of both"
    return _verdict(line.low > 0), f"slope {line.slope:,.0f} ({line.low:,.0f} to {line.high:,.0f}), R2 {line.r2:.2f}, n {line.n}"


def _type(claim: Claim, facts: Facts) -> tuple[str, str]:
    line = line_of(facts.scores.get(ROOT, {}), facts.variables.get("digital_economy", {}))
    if line is None or any(region not in line.residuals for region in _named(claim)):
        return UNKNOWN, "too few regions are known of both"
    kinds = {region: line.kind(region) for region in _named(claim)}
    told = ", ".join(f"{PROVINCES[region].en} {kind.replace('_', ' ')}" for region, kind in kinds.items())
    return _verdict(all(kind == claim["type"] for kind in kinds.values())), told


def _arithmetic(claim: Claim, _facts: Facts) -> tuple[str, str]:
    """Agrees where the recomputed number, rounded as it is printed, is the printed one."""
    printed = Decimal(claim["printed"])
    found = prod(map(Decimal, claim["factors"])) * Decimal(claim["times"]) / prod(map(Decimal, claim["divisors"]), start=Decimal(1))
    rounded = found.quantize(printed, ROUND_HALF_UP)
    return _verdict(rounded == printed), f"recomputed {found.quantize(Decimal('0.001'), ROUND_HALF_UP):,} {claim['unit']}"


def _each(claim: Claim, known: Values, fits: Callable[[float], bool], form: str = "{:.2f}") -> tuple[str, str]:
    """Whether it holds of every region that is named, each with its number."""
    told = ", ".join(f"{PROVINCES[region].en} {form.format(value)}" for region, value in known.items())
    if len(known) < len(claim["regions"]):
        return UNKNOWN, f"not known of all of them{': ' + told if told else ''}"
    return _verdict(all(map(fits, known.values()))), told


def _known(claim: Claim, values: Values) -> list[str]:
    return [region for region in _named(claim) if region in values]


def _named(claim: Claim) -> list[str]:
    return [_CODES[name] for name in claim["regions"]]


def _group(facts: Facts, name: str) -> list[str]:
    return [_CODES[one] for one in facts.groups[name]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _verdict(holds: bool) -> str:
    return AGREES if holds else DIFFERS


_KINDS: Final[Mapping[str, Callable[[Claim, Facts], tuple[str, str]]]] = {
    "structure": _structure, "ranks": _ranks, "scores": _at_least, "values": _at_least, "first": _first,
    "mostly_below": _mostly_below, "above_mean": _above_mean, "below_mean": _below_mean, "share": _share, "groups": _groups,
    "correlation": _correlation, "type": _type, "arithmetic": _arithmetic,
}  # fmt: skip
KINDS: Final = tuple(_KINDS)
