"""Prices that need a whole period's usage. What they mean is billing's, an upper app: it plugs its reader in when it is ready.

from marketplace import tariffs
tariffs.plug(read_tariff, read_fee)        # in BillingConfig.ready()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from core.errors import Invalid
from marketplace.dynamic import is_dynamic

PEAKS = ("daily_peak", "monthly_peak")


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price list as it is stored.

    documents  meter -> the rate as JSON, None where it is a flat price per task; a dynamic one is charged per task, too
    prices     meter -> the price of one unit that quotes and matching count with
    rules      peak policy, cap, quantum and minimum, as JSON
    per_period whether usage is charged when its month is over
    """

    documents: Mapping[str, dict[str, Any] | None]
    prices: Mapping[str, Decimal]
    rules: Mapping[str, Any]
    per_period: bool


Reader = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Tariff]
FeeReader = Callable[[Mapping[str, Any], str], Decimal]
_readers: list[tuple[Reader, FeeReader]] = []


def plug(reader: Reader, fee_reader: FeeReader) -> None:
    """Make these the readers. They raise Invalid `rates_invalid | rate_invalid | ...`.

    reader      (basis, rates, rules) in, the tariff out
    fee_reader  a publisher's fee for the month and its field in, the price that quotes count with out
    """
    _readers[:] = [(reader, fee_reader)]


def is_per_period(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> bool:
    """Whether a price list can be charged only when the period's quantity is known."""
    return basis in PEAKS or bool(rules) or any(not isinstance(rate, str) and not is_dynamic(rate) for rate in rates.values())


def read_tariff(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> Tariff:
    """A price list by period, read by billing."""
    if not _readers:
        raise Invalid("rates_invalid", "nothing here charges by period", field="rates")
    return _readers[0][0](basis, rates, rules)


def counted_fees(fee: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's fees as plans have them: prices that quotes count with, and `by_month` those that are rates for the month.

    Raises Invalid `rate_invalid` with the member in `field`, `fee.per_unit.tiers.0.price`.

    >>> counted_fees({"per_unit": "0.5", "per_task": "0"})
    {'per_unit': '0.5', 'per_task': '0'}
    """
    by_month = {name: rate for name, rate in fee.items() if isinstance(rate, Mapping)}
    if not by_month:
        return dict(fee)
    if not _readers:
        raise Invalid("rate_invalid", "nothing here charges by period", field="fee")
    prices = {name: format(_readers[0][1](rate, f"fee.{name}").normalize(), "f") for name, rate in by_month.items()}
    prices.pop("share", None)  # of what only the month knows: as a surcharge's, it is not counted
    return {name: price for name, price in fee.items() if name != "share"} | prices | {"by_month": by_month}
