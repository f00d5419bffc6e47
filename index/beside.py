"""An index beside what else was observed of its period: which quantities there are, and how one of them stands to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from core.errors import Invalid, NotFound
from index.analysis.relating import USUAL, WIDEST, Relation, relate, used_in
from index.analysis.types import BALANCED, FEWEST
from index.models import IndexRun
from index.running.observed import STOOD, Asked, see_variables
from index.trees import ROOT, Definition, Variable
from index.units import UNITS

# What no definition names and enough provinces have; a yes or no is no quantity.
_OTHERS: Final = (
    "SELECT seen.variable, array_agg(DISTINCT seen.unit)"
    + STOOD
    + """ AND seen.variable <> ALL(%(variables)s::text[]) AND seen.unit <> 'flag'
 GROUP BY seen.variable HAVING count(DISTINCT seen.region) >= %(fewest)s ORDER BY seen.variable
"""
)
_WORDS: Final = {"gdp": "GDP", "pct": "PCT", "va": "value added", "avg": "average"}
Documents = tuple[Mapping[str, Any], Mapping[str, Any]]  # a run's inputs and result
Row = tuple[str, int, bool]  # decimal text, the observation's number, whether it was generated


@dataclass(frozen=True, slots=True)
class Quantity:
    """What can stand beside the index. `part`: the index itself is made of it; `own`: the definition knows it."""

    variable: Variable
    part: bool
    own: bool


@dataclass(frozen=True, slots=True)
class Beside:
    """`quantity` is None where nothing can stand beside the index; `zone` are the standard deviations that are balanced."""

    choices: tuple[Quantity, ...]
    quantity: Quantity | None
    zone: float
    seen: Mapping[str, Row]
    relation: Relation


def beside(run: IndexRun, tree: Definition, documents: Documents, asked: Mapping[str, str]) -> Beside:
    """The run's index beside the quantity `asked["with"]`, balanced within `asked["zone"]`. Two statements at most.

    NotFound `variable_unknown`, Invalid `invalid_parameter`.
    """
    inputs, result = documents
    zone, choices = zone_of(asked.get("zone", "")), quantities(run, tree, inputs)
    quantity = _picked(choices, asked.get("with", ""))
    seen = _values(run, inputs, quantity) if quantity else {}
    index = {region: float(score) for region, score in result["scores"].get(ROOT, {}).items()}
    return Beside(choices, quantity, zone, seen, relate(index, {region: float(row[0]) for region, row in seen.items()}, zone))


def quantities(run: IndexRun, tree: Definition, inputs: Mapping[str, Any]) -> tuple[Quantity, ...]:
    """What the run has seen, and what else was observed by its moment; what the index is made of comes last."""
    used = used_in(tree, run.profile)
    own = [Quantity(tree.variables[code], code in used, True) for code in inputs]
    found = own + [Quantity(variable, False, False) for variable in _others(run, tree)]
    return tuple(sorted(found, key=lambda one: (one.part, one.variable.name["en"].lower())))


def zone_of(text: str) -> float:
    """Invalid `invalid_parameter`."""
    try:
        zone = float(text) if text else BALANCED
    except ValueError:
        zone = math.nan
    if not 0 <= zone <= WIDEST:
        raise Invalid("invalid_parameter", f"a zone is a number of standard deviations from 0 to {WIDEST:g}", field="zone")
    return zone


def words_of(code: str) -> str:
    """A name for what has none but its column's.

    >>> words_of("gdp_per_capita"), words_of("tertiary_va")
    ('GDP per capita', 'Tertiary value added')
    """
    words = " ".join(_WORDS.get(word, word) for word in code.split("_"))
    return words[:1].upper() + words[1:]


def _picked(choices: tuple[Quantity, ...], asked: str) -> Quantity | None:
    by_code = {one.variable.code: one for one in choices}
    if asked and asked not in by_code:
        raise NotFound("variable_unknown", "nothing of that name was observed of the run's period", field="with")
    return by_code.get(asked) or by_code.get(USUAL) or next(iter(choices), None)


def _values(run: IndexRun, inputs: Mapping[str, Any], quantity: Quantity) -> dict[str, Row]:
    code = quantity.variable.code
    table = inputs[code] if quantity.own else see_variables({code: quantity.variable}, _asked(run)).document().get(code, {})
    return {region: (row[0], row[1], row[2]) for region, row in table.items()}


def _others(run: IndexRun, tree: Definition) -> list[Variable]:
    given = _asked(run).given() | {"variables": list(tree.variables), "fewest": FEWEST}
    with connection.cursor() as cursor:
        cursor.execute(_OTHERS, given)
        rows = cursor.fetchall()
    return [
        Variable(code, run.profile, UNITS[units[0]], {"en": words_of(code), "zh": ""})
        for code, units in rows
        if len({UNITS[unit].dimension for unit in units}) == 1  # else two quantities have one name
    ]


def _asked(run: IndexRun) -> Asked:
    return Asked(run.profile, run.period, run.as_of, run.known_at)
