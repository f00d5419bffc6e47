"""Money: integer micro-units (a millionth of the currency's unit) in the ledger, Decimal before it.

Prices are `numeric(30,12)`. An amount is rounded to micros once, half up, when its charge is written;
to the currency's minor unit once more per invoice line.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

MICROS: Final = 1_000_000
BASIS_POINTS: Final = 10_000


def to_micros(amount: Decimal) -> int:
    """Round an amount in currency units to micros, half away from zero.

    >>> to_micros(Decimal("0.0000015"))
    2
    """
    return int((amount * MICROS).to_integral_value(rounding=ROUND_HALF_UP))


def from_micros(micros: int) -> Decimal:
    """The amount in currency units, exact.

    >>> from_micros(1_500_000)
    Decimal('1.5')
    """
    return Decimal(micros) / MICROS


def text_of(micros: int) -> str:
    """An amount as decimal text with six places, as the API and the exports print it.

    >>> text_of(-1500)
    '-0.001500'
    """
    sign = "-" if micros < 0 else ""
    whole, part = divmod(abs(micros), MICROS)
    return f"{sign}{whole}.{part:06d}"


def share_of(micros: int, basis_points: int) -> int:
    """A share of an amount, rounded down towards zero; the caller gives the rest to somebody."""
    sign = -1 if micros < 0 else 1
    return sign * (abs(micros) * basis_points // BASIS_POINTS)
