"""Rates as data: what a price version stores as JSON, read into frozen values.

    {"model": "volume", "tiers": [{"up_to": "500", "price": "0.52"}, {"price": "0.51"}], "minimum": "10", "maximum": "900"}

Prices and bounds are decimal text, since a float would not be exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

from core.errors import Invalid

NUMBER: Final = re.compile(r"[0-9]{1,18}([.][0-9]{1,12})?", re.ASCII)  # fits numeric(30, 12)
MOST_TIERS: Final = 50


@dataclass(frozen=True, slots=True)
class Tier:
    """Quantities up to and with `up_to` (None: all above) cost `price` a unit, and `flat` once."""

    up_to: Decimal | None
    price: Decimal
    flat: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Flat:
    """quantity x price."""

    price: Decimal


@dataclass(frozen=True, slots=True)
class Graduated:
    """Each tier's part of the quantity at that tier's price (超额累进)."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    """The whole quantity at the price of the tier that it reaches (阶梯到达)."""

    tiers: tuple[Tier, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """ceil(quantity / size) x price: a package that was begun is paid whole."""

    size: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class PerResult:
    """A price for each valid result; there are no parts of results."""

    price: Decimal


@dataclass(frozen=True, slots=True)
class Percentage:
    """A part of an amount of money, which is the quantity, plus something fixed."""

    percent: Decimal
    fixed: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Σ quantity x price of each event x multiplier: the price came with the event (a market's round produced it)."""

    multiplier: Decimal = Decimal(1)


Model = Flat | Graduated | Volume | Package | PerResult | Percentage | Dynamic


@dataclass(frozen=True, slots=True)
class Rate:
    """A model, and the least and the most that a period costs (None: no bound)."""

    model: Model
    minimum: Decimal | None = None
    maximum: Decimal | None = None

    def document(self) -> dict[str, Any]:
        """As JSON; `parse_rate` reads it back."""
        name = next(name for name, (model, _, _) in _MODELS.items() if isinstance(self.model, model))
        values: dict[str, Any] = {"model": name}
        for member in self.model.__dataclass_fields__:
            value = getattr(self.model, member)
            values[member] = [_tier_document(tier) for tier in value] if member == "tiers" else format(value, "f")
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        return values | {bound: format(value, "f") for bound, value in bounds.items() if value is not None}


def _tier_document(tier: Tier) -> dict[str, str]:
    bound = {} if tier.up_to is None else {"up_to": format(tier.up_to, "f")}
    return bound | {"price": format(tier.price, "f"), "flat": format(tier.flat, "f")}


# model -> its class, the members that it must have, those that it may have
_MODELS: Final[Mapping[str, tuple[type[Any], tuple[str, ...], tuple[str, ...]]]] = {
    "flat": (Flat, ("price",), ()),
    "graduated": (Graduated, ("tiers",), ()),
    "volume": (Volume, ("tiers",), ()),
    "package": (Package, ("size", "price"), ()),
    "per_result": (PerResult, ("price",), ()),
    "percentage": (Percentage, ("percent",), ("fixed",)),
    "dynamic": (Dynamic, (), ("multiplier",)),
}
_BOUNDS: Final = ("minimum", "maximum")


def parse_rate(document: Any, field: str = "rate") -> Rate:
    """Read a rate's JSON. Raises Invalid `rate_invalid` with the member at fault in `field`."""
    name = document.get("model") if isinstance(document, Mapping) else None
    if not isinstance(name, str) or name not in _MODELS:
        raise Invalid("rate_invalid", f"model is one of {', '.join(_MODELS)}", field=f"{field}.model")
    model, needed, optional = _MODELS[name]
    _members(document, ("model", *needed), (*optional, *_BOUNDS), field)
    values = {member: _value(member, document[member], field) for member in (*needed, *optional) if member in document}
    bounds = {bound: _number(document[bound], f"{field}.{bound}") for bound in _BOUNDS if bound in document}
    if len(bounds) == 2 and bounds["minimum"] > bounds["maximum"]:
        raise Invalid("rate_invalid", "the maximum is below the minimum", field=f"{field}.maximum")
    return Rate(model(**values), **bounds)


def _members(document: Mapping[str, Any], needed: tuple[str, ...], optional: tuple[str, ...], field: str) -> None:
    for member in needed:
        if member not in document:
            raise Invalid("rate_invalid", "this must be given", field=f"{field}.{member}")
    for member in document:
        if member not in (*needed, *optional):
            raise Invalid("rate_invalid", "a rate of this model has no such member", field=f"{field}.{member}")


def _value(member: str, value: Any, field: str) -> Any:
    if member == "tiers":
        return _tiers(value, f"{field}.tiers")
    number = _number(value, f"{field}.{member}")
    if member == "size" and not number:
        raise Invalid("rate_invalid", "a package holds something", field=f"{field}.size")
    return number


def _number(value: Any, field: str) -> Decimal:
    if not isinstance(value, str) or not NUMBER.fullmatch(value):
        raise Invalid("rate_invalid", "this is decimal text, 18 digits before and 12 after the point at most", field=field)
    return Decimal(value)


def _tiers(value: Any, field: str) -> tuple[Tier, ...]:
    """Tiers in rising order; only the last has no bound, so that every quantity has a price."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_TIERS:
        raise Invalid("rate_invalid", f"this is a list of 1 to {MOST_TIERS} tiers", field=field)
    tiers = tuple(_tier(tier, f"{field}.{number}") for number, tier in enumerate(value))
    for number, (lower, upper) in enumerate(pairwise(tiers)):
        if lower.up_to is None or (upper.up_to is not None and upper.up_to <= lower.up_to):
            raise Invalid("rate_invalid", "bounds rise, and only the last tier has none", field=f"{field}.{number}.up_to")
    if tiers[-1].up_to is not None:
        raise Invalid("rate_invalid", "the last tier has no bound", field=f"{field}.{len(tiers) - 1}.up_to")
    return tiers


def _tier(value: Any, field: str) -> Tier:
    if not isinstance(value, Mapping):
        raise Invalid("rate_invalid", "a tier is an object", field=field)
    _members(value, ("price",), ("up_to", "flat"), field)
    up_to = None if value.get("up_to") is None else _number(value["up_to"], f"{field}.up_to")
    return Tier(up_to, _number(value["price"], f"{field}.price"), _number(value.get("flat", "0"), f"{field}.flat"))
