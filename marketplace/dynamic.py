"""Dynamic rates: what a market's round makes of a list's multiplier, floor and ceiling. Pure and exact.

    {"model": "dynamic", "multiplier": "1.2", "floor": "0.0001", "ceiling": "0.002"}

    price = min(ceiling, max(floor, round12(shadow / seconds * multiplier)))

shadow   what one more core (or accelerator) of the pool would have saved in the round that placed the unit, for as long as a unit
         would have held it; 0 where there was room. In the currency.
seconds  for how long that is: the mean expected run time of the units that the round placed there
round12  half up, to 12 decimal places, once

`gridfare/evidence.py` says the same to who checks a charge without the platform.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, Final

from core.errors import Invalid

MODEL: Final = "dynamic"
NUMBER: Final = re.compile(r"[0-9]{1,10}([.][0-9]{1,12})?", re.ASCII)
MEMBERS: Final = ("floor", "ceiling", "multiplier")
MOST: Final = {"floor": Decimal(10**9), "ceiling": Decimal(10**9), "multiplier": Decimal(10**6)}
FORMULA: Final = "min(ceiling, max(floor, round12(shadow / seconds * multiplier)))"
PLACES: Final = 10**12
MILLI: Final = Decimal("0.001")
# meter -> the resource whose scarcity prices it; accelerators stand in rounds by model, `accelerator:<model>`
RESOURCE_OF: Final = {"core_second": "cores", "occupancy_second": "cores", "accelerator_second": "accelerator"}


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A rate per unit of its meter, in the currency: between floor and ceiling, which quotes and matching count with."""

    floor: Decimal
    ceiling: Decimal
    multiplier: Decimal = Decimal(1)

    def document(self) -> dict[str, str]:
        """As JSON; `parse` reads it back."""
        return {"model": MODEL} | {name: _text(getattr(self, name)) for name in MEMBERS}


@dataclass(frozen=True, slots=True)
class Signal:
    """What a round says of a pool: resource → its shadow price, and for how many seconds a unit would have held it."""

    seconds: Decimal
    shadows: Mapping[str, Decimal] = field(default_factory=dict)

    def shadow(self, meter: str) -> tuple[str, Decimal]:
        """The resource that prices the meter, and its shadow price; of accelerators the dearest model's."""
        kind = RESOURCE_OF[meter]
        found = {name: price for name, price in self.shadows.items() if name.partition(":")[0] == kind}
        name = max(sorted(found), key=lambda one: found[one], default=kind)
        return name, found.get(name, Decimal(0))


def signal_of(seconds: float, shadows: Mapping[str, float]) -> Signal:
    """A round's floats as decimals: shadow prices by their shortest text, seconds in whole milliseconds, at least one."""
    held = Decimal(max(floor(Fraction(seconds) * 1000 + Fraction(1, 2)), 1)) * MILLI
    return Signal(held, {name: Decimal(str(price)) for name, price in shadows.items()})


def price_of(rate: Dynamic, shadow: Decimal, seconds: Decimal) -> Decimal:
    """The price of one unit of the meter.

    >>> price_of(Dynamic(Decimal("0.001"), Decimal("0.1"), Decimal("1.5")), Decimal("2"), Decimal("60"))
    Decimal('0.050000000000')
    """
    exact = Fraction(shadow) / Fraction(seconds) * Fraction(rate.multiplier)
    if exact >= Fraction(rate.ceiling):
        return rate.ceiling
    return max(rate.floor, Decimal(floor(exact * PLACES + Fraction(1, 2))).scaleb(-12))


def is_dynamic(document: Any) -> bool:
    """Is this a dynamic rate's JSON?"""
    return isinstance(document, Mapping) and document.get("model") == MODEL


def parse(document: Mapping[str, Any], place: str, meter: str) -> Dynamic:
    """Read a dynamic rate's JSON. Raises Invalid `rates_invalid` with the member at fault in `field`."""
    if meter not in RESOURCE_OF:
        raise Invalid("rates_invalid", f"only {', '.join(sorted(RESOURCE_OF))} can follow the market", field=place)
    if unknown := sorted(set(document) - {"model", *MEMBERS}):
        raise Invalid("rates_invalid", f"a dynamic rate has {', '.join(MEMBERS)}", field=f"{place}.{unknown[0]}")
    values = {name: _number(document.get(name), name, place) for name in MEMBERS if name in document or name != "multiplier"}
    if values["floor"] > values["ceiling"]:
        raise Invalid("rates_invalid", "the floor is above the ceiling", field=f"{place}.floor")
    return Dynamic(**values)


def _number(text: Any, name: str, place: str) -> Decimal:
    if not isinstance(text, str) or not NUMBER.fullmatch(text) or Decimal(text) > MOST[name]:
        detail = f"decimal text from 0 to {MOST[name]} with at most 12 places"
        raise Invalid("rates_invalid", detail, field=f"{place}.{name}")
    return Decimal(text)


def _text(value: Decimal) -> str:
    return format(value.normalize(), "f")
