"""A change of the preview in one sentence: "+0.12 because Ningxia General service scale +0.8 PFLOPS". Pure.

It names regions, indicators and counts, never whose tasks or pools they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from index.preview.moving import Move
from index.regions import PROVINCES
from index.trees import ROOT, Definition
from index.units import Unit

_DIGITS: Final = 3
_SCALES: Final = {"flops": [("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("", 0)], "cny": [("100 million ", 8), ("", 0)]}
_WORDS: Final = {"flops": "FLOPS", "cny": "CNY", "second": "ms", "item": "", "point": "points"}
_WHY: Final = {
    "ratings": "users rated",
    "probes": "probes measured",
    "starts": "tasks started",
    "work": "what runs was metered",
    "clock": "time passed in which pools could have worked",
    "share": "others came to count beside it, or ceased to",
}


def sentence(definition: Definition, move: Move, cause: str, causes: Mapping[str, Any]) -> str:
    """For people, in at most 500 characters."""
    region = PROVINCES[move.region].en if move.region in PROVINCES else move.region
    if not move.leaf:
        told = f"{region} has an index now: {_two(move.after)}" if move.after is not None else f"{region} has no index any more"
        return f"{told}; {'enough' if move.after is not None else 'too little'} is known of it"
    leaf = definition.nodes[move.leaf]
    moved = f"{region} {leaf.name['en']} {_moved(move, leaf.unit)}".rstrip()
    why = _why(cause, causes)
    return f"{_head(definition, move)}{moved}{f' ({why})' if why else ''}"[:500]


def _head(definition: Definition, move: Move) -> str:
    if move.points is None:
        return "Does not count yet: "
    where = (
        "" if move.node == ROOT else f" in {definition.nodes[move.node].name['en']}" if move.node != move.leaf else " in its score"
    )
    return f"{signed(move.points)}{where} because "


def _moved(move: Move, unit: Unit | None) -> str:
    if move.raw_before == move.raw_after:
        return ""
    if move.raw_before is None:
        return f"is known now: {amount(move.raw_after, unit, sign=False)}"
    if move.raw_after is None:
        return "is not known any more"
    return amount(move.raw_after - move.raw_before, unit)


def _why(cause: str, causes: Mapping[str, Any]) -> str:
    if cause == "pools":
        return "a pool came, went or changed" if causes["n"] == 1 else f"{causes['n']} pools came, went or changed"
    if cause == "charges":
        one = causes["charges"]
        return f"{_count(one['n'], 'charge')} of {_count(one['tasks'], 'task')}"
    return _WHY.get(cause, "")


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def signed(value: Decimal | None) -> str:
    """Two places with the sign, more of what is smaller.

    >>> signed(Decimal("0.1234")), signed(Decimal("-0.000123"))
    ('+0.12', '-0.00012')
    """
    return f"{'+' if value is not None and value >= 0 else ''}{_two(value)}"


def amount(value: Decimal | None, unit: Unit | None, *, sign: bool = True) -> str:
    """A value of an indicator's unit, in the unit that suits its size.

    >>> from index.units import UNITS
    >>> amount(Decimal("0.0008"), UNITS["EFLOPS_FP32"])
    '+0.8 PFLOPS'
    """
    if value is None or unit is None:
        return ""
    mark = "+" if sign and value >= 0 else ""
    kind = unit.dimension[0][0] if len(unit.dimension) == 1 else ""
    if unit.code == "percent":
        return f"{mark}{_short(value)} percentage points" if sign else f"{_short(value)} %"
    if kind in _SCALES:
        base = value * unit.factor
        prefix, power = next(one for one in _SCALES[kind] if abs(base) >= Decimal(10) ** one[1] or one[1] == 0)
        return f"{mark}{_short(base.scaleb(-power))} {prefix}{_WORDS[kind]}"
    return f"{mark}{_short(value)} {_WORDS.get(kind, '')}".rstrip()


def _short(value: Decimal) -> str:
    """Three digits, and all before the point."""
    if not value:
        return "0"
    places = max(_DIGITS - 1 - value.adjusted(), 0)
    return f"{round(value, places).normalize():,f}"


def _two(value: Decimal | None) -> str:
    if value is None:
        return ""
    if value and abs(value) < Decimal("0.1"):
        return f"{round(value, 1 - value.adjusted()):f}"
    return f"{round(value, 2):,.2f}"
