"""Units of observations and indicators: what they measure, and how they convert. Pure.

A unit has a dimension (a product of powers of base kinds) and a factor to the base. A percentage is a number with factor 1/100, so
a formula needs no `* 100`: its result is converted into the indicator's unit. Nothing converts but through this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from core.errors import Invalid

Dimension = tuple[tuple[str, int], ...]  # (base kind, power), sorted, no power of 0
NUMBER: Final[Dimension] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """`factor` base units make one of these."""

    code: str
    dimension: Dimension
    factor: Decimal


def dimension_of(powers: Mapping[str, int]) -> Dimension:
    """A dimension of these powers."""
    return tuple(sorted((kind, power) for kind, power in powers.items() if power))


def _unit(code: str, kind: str = "", factor: str = "1") -> Unit:
    return Unit(code, dimension_of({kind: 1}) if kind else NUMBER, Decimal(factor))


UNITS: Final = {
    unit.code: unit
    for unit in (
        _unit("number"),
        _unit("percent", factor="0.01"),
        _unit("permille", factor="0.001"),
        _unit("flag"),
        _unit("points_0_100", "point"),
        _unit("count", "item"),
        _unit("count_0_20", "item"),
        _unit("firms", "item"),
        _unit("rank", "rank"),
        _unit("persons", "person"),
        _unit("persons_10k", "person", "1E+4"),
        _unit("CNY", "cny"),
        _unit("CNY_10K", "cny", "1E+4"),
        _unit("CNY_100M", "cny", "1E+8"),
        Unit("CNY_per_person", dimension_of({"cny": 1, "person": -1}), Decimal(1)),
        _unit("s", "second"),
        _unit("ms", "second", "0.001"),
        _unit("FLOPS_FP32", "flops", "1"),
        _unit("TFLOPS_FP32", "flops", "1E+12"),
        _unit("PFLOPS_FP32", "flops", "1E+15"),
        _unit("EFLOPS_FP32", "flops", "1E+18"),
        Unit("FLOP_FP32", dimension_of({"flops": 1, "second": 1}), Decimal(1)),
        _unit("FLOPS_unstated", "flops_of_unstated_precision", "1"),
        _unit("EFLOPS", "flops_of_unstated_precision", "1E+18"),
    )
}
# As statistics write them. EFLOPS without a precision is its own kind: it becomes FP32 only by a cited factor.
ALIASES: Final = {
    "%": "percent", "‰": "permille", "点": "points_0_100", "分": "points_0_100", "个": "count", "件": "count", "家": "firms",
    "户": "firms", "人": "persons", "万人": "persons_10k", "万户": "persons_10k", "元": "CNY", "万元": "CNY_10K",
    "亿元": "CNY_100M", "亿元人民币": "CNY_100M", "元/人": "CNY_per_person", "秒": "s", "毫秒": "ms",
}  # fmt: skip


def unit_of(text: str) -> Unit:
    """The unit of a code or of what statistics write. Invalid `unit_unknown`.

    >>> unit_of("亿元").code
    'CNY_100M'
    """
    name = text.split("(", maxsplit=1)[0].strip()  # what stands in brackets explains
    found = UNITS.get(ALIASES.get(name, name))
    if found is None:
        raise Invalid("unit_unknown", f"there is no unit {name!r} in the table of units", field="unit")
    return found


def convert(value: Decimal, unit: Unit, to: Unit) -> Decimal:
    """The value in another unit. Invalid `unit_mismatch` where the two do not measure the same.

    >>> convert(Decimal("1.5"), UNITS["CNY_100M"], UNITS["CNY_10K"])
    Decimal('1.5E+4')
    """
    if unit.dimension != to.dimension:
        raise Invalid("unit_mismatch", f"{unit.code} does not convert to {to.code}", field="unit")
    return value if unit.factor == to.factor else value * unit.factor / to.factor


def said(dimension: Dimension) -> str:
    """For people.

    >>> said((("cny", 1), ("person", -1)))
    'cny / person'
    """
    above = [f"{kind}^{power}" if power > 1 else kind for kind, power in dimension if power > 0]
    below = [f"{kind}^{-power}" if power < -1 else kind for kind, power in dimension if power < 0]
    return " / ".join([" * ".join(above) or "1", *below]) if below else " * ".join(above) or "a number"
