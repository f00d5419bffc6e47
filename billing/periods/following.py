"""What if a rate had followed the market: usage by the round that placed it, at what its numbers make of the tried rate.

A round says what a pool's being full is worth only where the pool's list had a dynamic rate then. Of usage that was placed without
such numbers the ceiling counts, as it does in quotes. Reads only.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from billing.periods.rating import Month, Rated
from billing.periods.reading import rows, windows
from billing.periods.sql import PLACED
from billing.rating import precise
from billing.rating.amounts import Part
from marketplace.dynamic import FORMULA, RESOURCE_OF, Dynamic, price_of

Followed = Mapping[tuple[int, str], tuple[Part, ...]]
_METERS: Final = ("core_second", "accelerator_second", "occupancy_second")


def followed(months: Mapping[int, Month], cutoff: datetime, rates: Mapping[str, Dynamic]) -> Followed:
    """What tried rates come to, (pool, meter) -> a part for every price that a round would have made. At most one statement."""
    if not rates:
        return {}
    sums: dict[tuple[int, str], dict[Decimal, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    plain = {"quantum": 1, "minimum": 0, "is_peak": False}  # as a list by task counts
    for pool, told, *quantities in rows(PLACED, {**windows(months), "cutoff": cutoff, **plain}):
        market = json.loads(told) if told else None
        for meter, quantity in zip(_METERS, quantities, strict=True):
            if meter in rates and quantity:
                sums[pool, meter][price_in(market, rates[meter], meter)] += Fraction(quantity)
    return {place: tuple(_part(price, each[price]) for price in sorted(each)) for place, each in sums.items()}


def price_in(market: Mapping[str, Any] | None, rate: Dynamic, meter: str) -> Decimal:
    """What a round's numbers make of a rate; without any of the meter's resource: the ceiling.

    >>> told, rate = {"seconds": "2", "rates": {"core_second": {"shadow": "0.02"}}}, Dynamic(Decimal(0), Decimal(1))
    >>> price_in(told, rate, "occupancy_second"), price_in(None, rate, "core_second")
    (Decimal('0.010000000000'), Decimal('1'))
    """
    recorded = market["rates"] if market else {}
    same = [one for name, one in sorted(recorded.items()) if RESOURCE_OF[name] == RESOURCE_OF[meter]]
    return price_of(rate, Decimal(same[0]["shadow"]), Decimal(market["seconds"])) if market and same else rate.ceiling


def _part(price: Decimal, quantity: Fraction) -> Part:
    return Part("usage", quantity, price, precise(quantity * Fraction(price)))


def following(line: Rated, pool: int, parts: Followed) -> Rated:
    """The line at rounds' prices, where its meter has a dynamic rate."""
    found = parts.get((pool, line.meter))
    return line if found is None else replace(line, parts=found, formula=f"{line.formula}, at {FORMULA} of its rounds")
