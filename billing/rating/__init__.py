"""Quantities and rates -> amounts. Pure and exact: fractions inside, twelve decimals outside, the minor unit once per line.

    currencies  ISO 4217: how many decimals a currency has; rounding and carrying
    rates       the rates as frozen values, read from JSON
    amounts     a rate and a quantity -> the parts of an amount
    shares      an amount -> the parties' shares, by largest remainder

docs/billing/rates.md has the formulas and their sources.
"""

from __future__ import annotations

from billing.rating.amounts import Event, Part, amount_of, parts_of
from billing.rating.currencies import minor_of, minor_units, precise, round_carried, units_of
from billing.rating.rates import Dynamic, Flat, Graduated, Package, Percentage, PerResult, Rate, Tier, Volume, parse_rate
from billing.rating.shares import share_change, shares_of

__all__ = [
    "Dynamic",
    "Event",
    "Flat",
    "Graduated",
    "Package",
    "Part",
    "PerResult",
    "Percentage",
    "Rate",
    "Tier",
    "Volume",
    "amount_of",
    "minor_of",
    "minor_units",
    "parse_rate",
    "parts_of",
    "precise",
    "round_carried",
    "share_change",
    "shares_of",
    "units_of",
]
