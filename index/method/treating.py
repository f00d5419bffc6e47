"""A few extreme values must not decide an indicator: what is too skewed is winsorised, or its logarithm taken. Pure.

Thresholds and order as in COINr: while the sample's skewness is above 2 and its kurtosis above 3.5 the most extreme values on the
side of the skew become the next one, at most k of them (ties together); where that is not enough, x becomes
ln(x - min + 0.01 (max - min)) of the untouched values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from index.method.numbers import logarithm, outlying

SKEWED: Final = Decimal(2)
PEAKED: Final = Decimal("3.5")
_OFFSET: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Treated:
    """Values as they go on; `moved`: what was winsorised, with its value before; `logged`: whether logarithms stand."""

    values: Mapping[str, Decimal]
    moved: Mapping[str, Decimal] = field(default_factory=dict)
    logged: bool = False


def treat(values: Mapping[str, Decimal], most: int) -> Treated:
    """Treat the values of the regions present. most  how many may be winsorised; 0: nothing is treated."""
    if most == 0:
        return Treated(values)
    current, moved = dict(values), dict[str, Decimal]()
    while side := outlying(list(current.values()), SKEWED, PEAKED):
        extreme = (max if side > 0 else min)(current.values())
        there = [name for name, value in current.items() if value == extreme]
        moved |= {name: values[name] for name in there}
        if len(moved) > most:
            return Treated(_logged(values), logged=True)
        others = [value for value in current.values() if value != extreme]
        current |= dict.fromkeys(there, (max if side > 0 else min)(others))
    return Treated(current, moved)


def _logged(values: Mapping[str, Decimal]) -> dict[str, Decimal]:
    least, most = min(values.values()), max(values.values())
    shift = _OFFSET * (most - least) - least
    return {name: logarithm(value + shift) for name, value in values.items()}
