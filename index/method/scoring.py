"""A run: what was observed, by a definition, weights and parameters, as scores, ranks, coverage, contributions and flags. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from typing import Any, Final

from index.expressions import Expression, Name, evaluate, names_in
from index.method.aggregating import aggregate
from index.method.imputing import filled, impute, known
from index.method.normalising import normalise
from index.method.numbers import CONTEXT, HUNDRED, ZERO, plain, ranks
from index.method.treating import Done, Treated, treat, treat_alike
from index.trees import ROOT, Definition, Node

Table = Mapping[str, Mapping[str, Decimal]]  # variable or node -> region -> value
FLAGS: Final = ("imputed", "no_variation", "one_region", "winsorised", "logged", "above", "beyond_goalposts", "no_data")


@dataclass(frozen=True, slots=True)
class Method:
    """How a run is made: the definition's own method, with what a run changes.

    goalposts  of a base's run, by leaf: (least, greatest) of its treated values
    treatment  of a base's run, by leaf with goalposts: what was done to its values, and is done again
    left_out   leaves that are not there
    """

    normalise: str = "minmax"
    aggregate: str = "arithmetic"
    min_coverage: Decimal = Decimal("0.65")
    winsorise: int = 3
    restandardise: bool = False
    impute: str = "none"
    goalposts: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    treatment: Mapping[str, Done] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    @classmethod
    def of(cls, definition: Definition, changes: Mapping[str, Any] | None = None) -> Method:
        """Of a definition, with a run's own changes by name."""
        method = {**definition.method, **(changes or {})}
        plain = {name: method[name] for name in ("normalise", "aggregate", "winsorise", "restandardise")}
        return cls(**plain, min_coverage=Decimal(method["min_coverage"]), impute=method.get("impute", "none"))


@dataclass(frozen=True, slots=True)
class Result:
    """By leaf and region: raw in the leaf's unit, treated, normalised; by node and region: scores, the root's ranks.

    weights        by node: its share among its siblings, as it was given
    contributions  by region and leaf: what it gives to the index; they add up to it (of an arithmetic mean, else empty)
    coverage       by region: the share of the leaves' weight that is known
    flags          (leaf, region or "", flag, detail)
    """

    raw: Table
    treated: Table
    normalised: Table
    scores: Table
    ranks: Mapping[str, int]
    weights: Mapping[str, Decimal]
    contributions: Table
    coverage: Mapping[str, Decimal]
    flags: Sequence[tuple[str, str, str, str]]


def score(definition: Definition, profile: str, weights: Mapping[str, Decimal], observed: Table, method: Method) -> Result:
    """Run. weights  by node, of any sum among siblings; observed  by variable, in its unit."""
    with localcontext(CONTEXT):
        raw, made_up = values_of(definition, profile, observed, method)
        leaves = [node for node in definition.leaves(profile) if node.code not in method.left_out]
        treated = {node.code: _treated(node, raw[node.code], method) for node in leaves}
        scored = {node.code: _normalised(node, treated[node.code], method) for node in leaves}
        normalised = {code: found or {} for code, found in scored.items()}
        tree = pruned(definition.tree(profile), {code for code, found in scored.items() if found is not None})
        scores = blend(tree, weights, normalised, method)
        index = scores.get(ROOT, {})
        return Result(
            {node.code: raw[node.code] for node in leaves}, {code: one.values for code, one in treated.items()}, normalised, scores,
            ranks(dict(index)), {code: weights[code] for below in tree.values() for code in below},
            contributions_of(tree, weights, scores, index) if method.aggregate == "arithmetic" and not method.restandardise else {},
            coverage_of(tree, weights, known(normalised, made_up)),
            [flag for node in leaves for flag in [*_imputed(node, made_up), *_flags(node, raw, treated, scored, method)]],
        )  # fmt: skip


def values_of(definition: Definition, profile: str, observed: Table, method: Method) -> tuple[Table, Table]:
    """(raw values of every leaf, with what a run's rule fills; what was filled). Leaves that are left out fill nothing."""
    raw = {code: values for code, values in raw_of(definition, profile, observed).items() if code not in method.left_out}
    more = impute(raw, method.impute, method.min_coverage)
    return (filled(raw, more) if more else raw), more


def _imputed(node: Node, made_up: Table) -> list[tuple[str, str, str, str]]:
    return [(node.code, region, "imputed", plain(value)) for region, value in sorted(made_up.get(node.code, {}).items())]


def raw_of(definition: Definition, profile: str, observed: Table) -> dict[str, dict[str, Decimal]]:
    """Every leaf's values, in its unit, of the regions of which all is known that its formula names."""
    base = {
        code: dict(values)
        if (factor := definition.variables[code].unit.factor) == 1
        else {region: value * factor for region, value in values.items()}
        for code, values in observed.items()
        if code in definition.variables and definition.variables[code].profile == profile
    }
    found: dict[str, dict[str, Decimal]] = {}
    for code, expression in definition.expressions(profile).items():
        base[code] = _evaluated(expression, base)
        unit = definition.nodes[code].unit
        factor = unit.factor if unit else Decimal(1)
        found[code] = base[code] if factor == 1 else {region: value / factor for region, value in base[code].items()}
    return found


def _evaluated(expression: Expression, base: Table) -> dict[str, Decimal]:
    """By region, of those of which every name is known."""
    if isinstance(expression, Name):
        return dict(sorted(base.get(expression.name, {}).items()))
    names = names_in(expression)
    regions = [set(base.get(name, {})) for name in names]
    there = sorted(set.intersection(*regions)) if regions else []
    values = {region: evaluate(expression, {name: base[name][region] for name in names}) for region in there}
    return {region: value for region, value in values.items() if value is not None}


def blend(tree: Mapping[str, Sequence[str]], weights: Mapping[str, Decimal], leaves: Table, method: Method) -> dict[str, Any]:
    """Scores of every node, from the lowest parents up. The index needs all that stands right below it."""
    scores: dict[str, Any] = dict(leaves)
    for parent, below in tree.items():
        coverage = Decimal(1) if parent == ROOT else method.min_coverage
        found = aggregate(method.aggregate, below, weights, scores, coverage)
        if method.restandardise and parent != ROOT and any(child in leaves for child in below):
            found = normalise(found, 1, "minmax", None, None) or found
        scores[parent] = found
    return scores


def pruned(tree: Mapping[str, Sequence[str]], leaves: set[str]) -> dict[str, list[str]]:
    """The tree without leaves that tell nobody from anybody, and without what has nothing below it then.

    A leaf of which nothing is known stays: it is missing, and counts against coverage.
    """
    found: dict[str, list[str]] = {}
    for parent, below in tree.items():
        stays = [child for child in below if child in leaves or child in found]
        if stays:
            found[parent] = stays
    return found


def contributions_of(
    tree: Mapping[str, Sequence[str]], weights: Mapping[str, Decimal], scores: Table, index: Mapping[str, Decimal]
) -> dict[str, dict[str, Decimal]]:
    """Of each region with an index: every leaf's weight up to the root times its score."""
    return {region: dict(_down(tree, weights, scores, region, ROOT, Decimal(1))) for region in index}


def _down(
    tree: Mapping[str, Sequence[str]], weights: Mapping[str, Decimal], scores: Table, region: str, parent: str, share: Decimal
) -> list[tuple[str, Decimal]]:
    there = [child for child in tree[parent] if region in scores[child]]
    total = sum((weights[child] for child in there), ZERO)
    found = []
    for child in there:
        part = share * weights[child] / total
        found += _down(tree, weights, scores, region, child, part) if child in tree else [(child, part * scores[child][region])]
    return found


def coverage_of(tree: Mapping[str, Sequence[str]], weights: Mapping[str, Decimal], leaves: Table) -> dict[str, Decimal]:
    """By region: how much of the weight has a value."""
    shares = shares_of(tree, weights)
    regions = sorted({region for values in leaves.values() for region in values})
    return {region: sum((share for leaf, share in shares.items() if region in leaves[leaf]), ZERO) for region in regions}


def shares_of(tree: Mapping[str, Sequence[str]], weights: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Every leaf's weight in the whole: they add up to 1."""
    found, waiting = dict[str, Decimal](), [(ROOT, Decimal(1))]
    while waiting:
        parent, share = waiting.pop()
        below = tree.get(parent, ())
        total = sum((weights[child] for child in below), ZERO)
        for child in below:
            part = share * weights[child] / total if total else ZERO
            waiting += [(child, part)] if child in tree else []
            found |= {} if child in tree else {child: part}
    return found


def without(method: Method, leaf: str) -> Method:
    """The same without an indicator."""
    return replace(method, left_out=method.left_out | {leaf})


def _treated(node: Node, values: Mapping[str, Decimal], method: Method) -> Treated:
    if (done := method.treatment.get(node.code)) is not None:
        return treat_alike(values, done)
    return treat(values, method.winsorise if node.winsorise is None else node.winsorise)


def _normalised(node: Node, treated: Treated, method: Method) -> dict[str, Decimal] | None:
    posts = method.goalposts.get(node.code) or (None if treated.logged else node.goalposts)
    return normalise(treated.values, node.direction, method.normalise, posts, None if treated.logged else node.target)


def _flags(
    node: Node, raw: Table, treated: Mapping[str, Treated], scored: Mapping[str, Any], method: Method
) -> list[tuple[str, str, str, str]]:
    values, how = raw[node.code], treated[node.code]
    found = [(node.code, region, "winsorised", plain(before)) for region, before in sorted(how.moved.items())]
    if not values:
        return [(node.code, "", "no_data", "")]
    if scored[node.code] is None:
        found.append((node.code, "", "one_region" if len(values) == 1 else "no_variation", ""))
    if how.logged:
        found.append((node.code, "", "logged", ""))
    if node.flag_above is not None:
        found += [(node.code, region, "above", plain(value)) for region, value in sorted(values.items()) if value > node.flag_above]
    beyond = [(region, one) for region, one in sorted((scored[node.code] or {}).items()) if not 0 <= one <= HUNDRED]
    if method.normalise not in {"zscore", "rank"}:
        found += [(node.code, region, "beyond_goalposts", "") for region, _ in beyond]
    return found
