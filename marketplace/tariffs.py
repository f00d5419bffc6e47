"""Prices that need a whole period's usage. What they mean is billing's, an upper app: it plugs its reader in when it is ready.

from marketplace import tariffs
tariffs.plug(read_tariff)        # in BillingConfig.ready()
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
_readers: list[Reader] = []


def plug(reader: Reader) -> None:
    """Make this the reader: (basis, rates, rules) in, the tariff out. It raises Invalid `rates_invalid | rate_invalid | ...`."""
    _readers[:] = [reader]


def is_per_period(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> bool:
    """Whether a price list can be charged only when the period's quantity is known."""
    return basis in PEAKS or bool(rules) or any(not isinstance(rate, str) and not is_dynamic(rate) for rate in rates.values())


def read_tariff(basis: str, rates: Mapping[str, Any], rules: Mapping[str, Any]) -> Tariff:
    """A price list by period, read by billing."""
    if not _readers:
        raise Invalid("rates_invalid", "nothing here charges by period", field="rates")
    return _readers[0](basis, rates, rules)
