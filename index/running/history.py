"""How regions stood over the periods: one value of each and its rank, with a reason before every period that does not compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Final

from core.errors import NotFound
from index.analysis.comparing import Reason, Side, reasons
from index.defining import tree_of, weights_of
from index.method.numbers import CONTEXT, ranks
from index.models import IndexRun
from index.running.series import not_on_it, on_one_base
from index.trees import ROOT

MOST_APART: Final = 10  # periods that do not compare


@dataclass(frozen=True, slots=True)
class Year:
    """A run of a period. `reasons`: why it does not compare with the run that was asked for; empty where it does.

    values  by region: an indicator in its unit, of all other nodes scores
    ranks   by region, 1 is the best
    generated  which share of the values that the run saw was generated, 0 to 1
    """

    run: IndexRun
    reasons: Sequence[Reason]
    values: Mapping[str, Decimal]
    ranks: Mapping[str, int]
    generated: float = 0.0

    @property
    def comparable(self) -> bool:
        return not self.reasons


def side_of(run: IndexRun) -> Side:
    """A run as it is compared."""
    return Side(tree_of(run.definition), weights_of(run.weights), run.read("result"))


def history_of(run: IndexRun, node: str = ROOT) -> list[Year]:
    """The periods that compare with `run`, the earliest first, then those that do not. NotFound `indicator_unknown`.

    Values of an indicator compare by its definition alone, as no scale is in them. Two statements.
    """
    tree = tree_of(run.definition)
    if node != ROOT and node not in tree.nodes:
        raise NotFound("indicator_unknown", "there is no such indicator", field="node")
    alike = on_one_base(run)
    others = not_on_it(run, [one.period for one in alike], MOST_APART)
    first = side_of(run)
    found = [_year(first, run, one, node) for one in (*alike, *others)]
    return sorted(found, key=lambda year: (not year.comparable, year.run.period))


def _year(first: Side, run: IndexRun, other: IndexRun, node: str) -> Year:
    side = side_of(other)
    found = side.definition.nodes.get(node)
    leaf = found is not None and found.is_leaf
    values = {region: Decimal(value) for region, value in side.document["raw" if leaf else "scores"].get(node, {}).items()}
    with localcontext(CONTEXT):
        places = ranks({region: value * (found.direction if leaf and found else 1) for region, value in values.items()})
    return Year(other, _apart(first, side, run, other, leaf), values, places, _generated(other))


def _generated(run: IndexRun) -> float:
    seen = [one for each in run.read("inputs").values() for one in each.values()] if run.synthetic else []
    return sum(1 for _, _, synthetic in seen if synthetic) / len(seen) if seen else 0.0


def _apart(first: Side, side: Side, run: IndexRun, other: IndexRun, leaf: bool) -> list[Reason]:
    found = [one for one in reasons(first, side) if not leaf or one.code == "definition"]
    if run.weights_id != other.weights_id and run.definition_id == other.definition_id and not leaf:
        found.append(Reason("weights", f"its weights are {other.weights.name}, not {run.weights.name}"))
    return found
