"""The data of a stored run: how good they are, and how old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from django.db import connection

from index.analysis.quality import Quality, quality_of
from index.defining import tree_of
from index.expressions import names_in
from index.models import IndexRun
from index.regions import PROVINCES
from index.trees import Definition

_AGES: Final = """
SELECT seen.variable, count(*), min(seen.vintage), max(seen.vintage), array_agg(DISTINCT batch.origin ORDER BY batch.origin)
  FROM index_observation AS seen
  JOIN index_observationbatch AS batch ON batch.id = seen.batch_id
 WHERE seen.id = ANY(%s)
 GROUP BY seen.variable
 ORDER BY seen.variable
"""


@dataclass(frozen=True, slots=True)
class Age:
    """Of a variable: how many regions, the first and the last day on which a value was published, and where values come from."""

    variable: str
    regions: int
    first: date
    last: date
    origins: tuple[str, ...]

    def days(self, until: date) -> int:
        """How old the oldest value is."""
        return (until - self.first).days


def data_quality(run: IndexRun) -> Quality:
    """Of what the run saw and made of it."""
    tree, result, inputs = tree_of(run.definition), run.read("result"), run.read("inputs")
    leaves = [node.code for node in tree.leaves(run.profile)]
    imputed = [(leaf, region) for leaf, region, flag, _ in result["flags"] if flag == "imputed" and region]
    raw, scores = _floats(result["raw"]), _floats(result["normalised"])
    return quality_of(
        leaves,
        list(PROVINCES),
        raw,
        scores,
        _generated(tree, run.profile, inputs),
        imputed,
    )


def ages(run: IndexRun) -> list[Age]:
    """Of every variable that was seen; one statement."""
    numbers = [one[1] for row in run.read("inputs").values() for one in row.values()]
    with connection.cursor() as cursor:
        cursor.execute(_AGES, [numbers])
        return [Age(name, number, first, last, tuple(origins)) for name, number, first, last, origins in cursor.fetchall()]


def _generated(tree: Definition, profile: str, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(leaf, region) of values that rest on a generated one, through other leaves, too."""
    expressions = tree.expressions(profile)
    rests = {code: {region for region, one in row.items() if one[2]} for code, row in inputs.items()}
    for leaf, expression in expressions.items():  # each comes after those that it names
        rests[leaf] = set().union(*(rests.get(name, set()) for name in names_in(expression)))
    return [(leaf, region) for leaf in expressions for region in rests[leaf]]


def _floats(table: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, float]]:
    return {code: {region: float(value) for region, value in row.items()} for code, row in table.items()}
