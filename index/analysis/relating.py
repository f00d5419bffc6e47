"""The index beside another quantity of the same regions: what the page of the relationship says. Pure.

The other quantity may be any variable of the run. One that an indicator's formula uses is a part of the index, and said to be so: a
thing goes together with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from index.analysis.types import BALANCED, Line, line_of
from index.expressions import names_in
from index.trees import Definition

USUAL: Final = "digital_economy"
WIDEST: Final = 3.0
KINDS: Final = ("supply_driven", "balanced", "demand_pulled")


@dataclass(frozen=True, slots=True)
class Standing:
    """A region of the scatter: x is its score, y the other quantity, `apart` how many standard deviations y is off the line."""

    region: str
    x: float
    y: float
    apart: float
    kind: str


@dataclass(frozen=True, slots=True)
class Relation:
    """`line` is None where too few are known, or one of the two is the same for all; then there are no kinds either."""

    line: Line | None
    standing: tuple[Standing, ...]
    alone: tuple[str, ...]

    def ends(self) -> list[tuple[float, float]]:
        """Where the line enters and leaves the scatter."""
        if self.line is None:
            return []
        least, most = (pick(one.x for one in self.standing) for pick in (min, max))
        return [(x, self.line.start + self.line.slope * x) for x in (least, most)]


def relate(index: Mapping[str, float], other: Mapping[str, float], zone: float = BALANCED) -> Relation:
    """Regions of which both are known, the most demand-pulled first; `alone` are those of which only the score is."""
    line = line_of(index, other)
    both = sorted(index.keys() & other.keys())
    standing = [
        Standing(region, index[region], other[region], line.residuals[region], line.kind(region, zone))
        if line
        else Standing(region, index[region], other[region], 0.0, "")
        for region in both
    ]
    standing.sort(key=lambda one: (-one.apart, one.region))
    return Relation(line, tuple(standing), tuple(sorted(index.keys() - other.keys())))


def used_in(definition: Definition, profile: str) -> frozenset[str]:
    """The variables that the index itself is made of."""
    return frozenset(
        name
        for expression in definition.expressions(profile).values()
        for name in names_in(expression)
        if name in definition.variables
    )
