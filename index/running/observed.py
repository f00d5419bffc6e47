"""What a run sees: of every variable and region the value that was the newest at its moment. One statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from index.trees import Definition, Variable
from index.units import UNITS, convert

# What stood at a run's moment.
STOOD: Final = """
  FROM index_observation seen JOIN index_observationbatch batch ON batch.id = seen.batch_id
 WHERE batch.profile = %(profile)s AND seen.period = %(period)s
   AND seen.vintage <= %(as_of)s AND seen.region <> '100000' AND batch.committed_at <= %(known_at)s
   AND (batch.rolled_back_at IS NULL OR batch.rolled_back_at > %(known_at)s)
"""
# The newest vintage as of the date; of equal ones the batch that was committed last.
_SEEN: Final = (
    "SELECT DISTINCT ON (seen.variable, seen.region) seen.variable, seen.region, seen.value, seen.unit, seen.id, batch.origin"
    + STOOD
    + """ AND seen.variable = ANY(%(variables)s::text[])
 ORDER BY seen.variable, seen.region, batch.origin = 'synthetic', seen.vintage DESC, batch.committed_at DESC, seen.id DESC
"""
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which values: of a profile and period, published by `as_of`, committed by `known_at`."""

    profile: str
    period: str
    as_of: date
    known_at: datetime

    def given(self) -> dict[str, Any]:
        """As the statements name them."""
        return {"profile": self.profile, "period": self.period, "as_of": self.as_of, "known_at": self.known_at}


@dataclass(frozen=True, slots=True)
class Seen:
    """Values by variable and region in the variable's unit, each with the observation's number, and whether any is synthetic."""

    values: Mapping[str, Mapping[str, Decimal]]
    numbers: Mapping[str, Mapping[str, int]]
    synthetic: Mapping[str, frozenset[str]]

    def document(self) -> dict[str, Any]:
        """{variable: {region: [value, observation, synthetic]}}, decimal text."""
        return {
            variable: {
                region: [format(value.normalize(), "f"), self.numbers[variable][region], region in self.synthetic.get(variable, ())]
                for region, value in sorted(values.items())
            }
            for variable, values in sorted(self.values.items())
        }


def see(definition: Definition, asked: Asked) -> Seen:
    """Of the definition's variables. Generated values stand only where nothing else is."""
    return see_variables({code: one for code, one in definition.variables.items() if one.profile == asked.profile}, asked)


def see_variables(variables: Mapping[str, Variable], asked: Asked) -> Seen:
    """Of these variables. Invalid `unit_mismatch` where a value does not convert; imports see to that for what definitions know."""
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, asked.given() | {"variables": list(variables)})
        rows = cursor.fetchall()
    values: dict[str, dict[str, Decimal]] = {}
    numbers: dict[str, dict[str, int]] = {}
    synthetic: dict[str, set[str]] = {}
    for variable, region, value, unit, number, origin in rows:
        values.setdefault(variable, {})[region] = convert(value, UNITS[unit], variables[variable].unit)
        numbers.setdefault(variable, {})[region] = number
        if origin == "synthetic":
            synthetic.setdefault(variable, set()).add(region)
    return Seen(values, numbers, {variable: frozenset(regions) for variable, regions in synthetic.items()})


def read_seen(document: Mapping[str, Any]) -> Seen:
    """What `document` wrote."""
    return Seen(
        {variable: {region: Decimal(one[0]) for region, one in each.items()} for variable, each in document.items()},
        {variable: {region: one[1] for region, one in each.items()} for variable, each in document.items()},
        {variable: frozenset(region for region, one in each.items() if one[2]) for variable, each in document.items()},
    )
