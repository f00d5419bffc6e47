"""A few extreme values must not decide an indicator: what is too skewed is winsorised, or its logarithm taken. Pure.

Thresholds and order as in COINr: while the sample's skewness is above 2 and its kurtosis above 3.5 the most extreme values on the
side of the skew become the next one, at most k of them (ties together); where that is not enough, x becomes
ln(x - min + 0.01 (max - min)) of the untouched values. A run on the goalposts of a base does what the base's run did, and no more.
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


@dataclass(frozen=True, slots=True)
class Done:
    """What a base's run did to an indicator: the ends at which winsorised values stood, what was added below its logarithm."""

    least: Decimal | None = None
    most: Decimal | None = None
    shift: Decimal | None = None


def treat_alike(values: Mapping[str, Decimal], done: Done) -> Treated:
    """The same done again: values beyond its ends stand at them. Where nothing was done nothing is, however skewed they are now."""
    cut = {name: _within(value, done) for name, value in values.items()}
    moved = {name: values[name] for name, value in cut.items() if value != values[name]}
    if done.shift is None:
        return Treated(cut, moved)
    return Treated({name: logarithm(value + done.shift) for name, value in cut.items()}, moved, logged=True)


def _within(value: Decimal, done: Done) -> Decimal:
    value = value if done.least is None else max(value, done.least)
    return value if done.most is None else min(value, done.most)


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
    shift = shift_of(least, most)
    return {name: logarithm(value + shift) for name, value in values.items()}


def shift_of(least: Decimal, most: Decimal) -> Decimal:
    """What is added to values before their logarithm is taken, of which these are the ends."""
    return _OFFSET * (most - least) - least
