"""What a usage costs by an offer's rates, and what a publisher asks. Pure and exact: nothing is rounded here.

Quotes and matching ask it before a task runs, billing asks the same question of PostgreSQL afterwards
(`billing/sql.py`); a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final

EXACT: Final = Context(prec=120)  # wide enough that no product of quantity and price is ever rounded

MILLI: Final = Decimal("0.001")
NANO: Final = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class Usage:
    """What is priced, in the units of a usage record (milliseconds, FP32 GFLOP, bytes)."""

    core_ms: int = 0
    held_core_ms: int = 0
    accelerator_ms: int = 0
    fp32_gflop: Decimal = Decimal(0)
    bytes_moved: int = 0
    results: int = 0  # valid units


@dataclass(frozen=True, slots=True)
class Line:
    """One meter's part of a price: `amount = quantity x unit_price`, in currency units, exact."""

    meter: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal


# basis -> the meters that it prices (按消耗量, 按占用时间, 按结果); rates of other meters are ignored
METERS_OF: Final[Mapping[str, frozenset[str]]] = {
    "consumption": frozenset({"core_second", "accelerator_second", "fp32_tflop", "gb_moved"}),
    "occupancy": frozenset({"occupancy_second", "gb_moved"}),
    "result": frozenset({"result", "gb_moved"}),
}


def quantities_of(usage: Usage) -> dict[str, Decimal]:
    """Every meter's quantity, in the order in which lines are printed."""
    return {
        "core_second": EXACT.multiply(Decimal(usage.core_ms), MILLI),
        "accelerator_second": EXACT.multiply(Decimal(usage.accelerator_ms), MILLI),
        "fp32_tflop": EXACT.multiply(usage.fp32_gflop, MILLI),
        "gb_moved": EXACT.multiply(Decimal(usage.bytes_moved), NANO),
        "occupancy_second": EXACT.multiply(Decimal(usage.held_core_ms), MILLI),
        "result": Decimal(usage.results),
    }


def lines_of(basis: str, rates: Mapping[str, Decimal], usage: Usage) -> list[Line]:
    """The meters that cost something, each with its exact amount. `rates` is `{meter: unit price}`."""
    lines = []
    for meter, quantity in quantities_of(usage).items():
        price = rates.get(meter, Decimal(0)) if meter in METERS_OF.get(basis, ()) else Decimal(0)
        if price and quantity:
            lines.append(Line(meter, quantity, price, EXACT.multiply(quantity, price)))
    return lines


def price_of(basis: str, rates: Mapping[str, Decimal], usage: Usage) -> Decimal:
    """The exact price in currency units, before the publisher's fee.

    >>> price_of("consumption", {"core_second": Decimal("0.0001")}, Usage(core_ms=2500))
    Decimal('0.0002500')
    """
    total = Decimal(0)
    for line in lines_of(basis, rates, usage):
        total = EXACT.add(total, line.amount)
    return total


def fee_of(terms: Mapping[str, str], *, units: int, delivered: bool) -> Decimal:
    """The publisher's fee: `fee_per_unit` for each valid unit (a merge is none), `fee_per_task` once delivered.

    What `fees_by_month` names is counted with here; it is charged with its month.
    """
    fee = EXACT.multiply(Decimal(terms.get("fee_per_unit", "0")), Decimal(units))
    return EXACT.add(fee, Decimal(terms.get("fee_per_task", "0"))) if delivered else fee
