"""A rate and a quantity -> the parts of an amount. Pure and exact.

Quantities are cumulative over the period: a run in mid-period rates what there is so far, a later one everything again, and
the difference is what is charged. So nothing here is ever negative, except the cap's own part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from billing.rating.currencies import precise
from billing.rating.rates import Dynamic, Flat, Graduated, Package, Percentage, PerResult, Rate, Volume
from core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Event:
    """A quantity with the price that it was sold at (currency units per unit)."""

    quantity: Fraction
    price: Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """One line's worth: `amount` is precise (twelve decimals).

    kind      usage | fixed (a tier's or percentage's fixed part) | minimum (the true-up) | maximum (the cap, negative)
    quantity  in the unit that `price` is for
    """

    kind: str
    quantity: Fraction
    price: Decimal
    amount: Decimal


def amount_of(rate: Rate, quantity: Fraction | int, *, final: bool = True) -> Decimal:
    """What a quantity costs, in currency units with twelve decimals."""
    return total_of(parts_of(rate, quantity, final=final))


def total_of(parts: Sequence[Part]) -> Decimal:
    """The sum of parts, exact."""
    return precise(sum((Fraction(part.amount) for part in parts), Fraction(0)))


def parts_of(rate: Rate, usage: Fraction | int | Sequence[Event], *, final: bool = True) -> list[Part]:
    """The parts of an amount, each rounded to twelve decimals.

    usage   a quantity, or events with their prices for a dynamic rate
    final   whether this is the period's last run: only then is the true-up to the minimum asked for
    """
    parts = list(_by_events(rate.model, usage) if isinstance(rate.model, Dynamic) else _by_quantity(rate.model, usage))
    total = total_of(parts)
    if rate.maximum is not None and total > rate.maximum:
        parts.append(_bound("maximum", rate.maximum - total))
    if final and rate.minimum is not None and total < rate.minimum:
        parts.append(_bound("minimum", rate.minimum - total))
    return parts


def _bound(kind: str, amount: Decimal) -> Part:
    return Part(kind, Fraction(1), precise(amount), precise(amount))


def _part(quantity: Fraction, price: Decimal, kind: str = "usage") -> Part:
    return Part(kind, quantity, price, precise(quantity * Fraction(price)))


def _fixed(amount: Decimal) -> Iterator[Part]:
    if amount:
        yield _part(Fraction(1), amount, "fixed")


def _by_events(model: Dynamic, usage: Any) -> Iterator[Part]:
    if not isinstance(usage, Sequence):
        raise Invalid("quantity_invalid", "a dynamic rate is asked for events with their prices", field="quantity")
    for event in usage:
        _checked(event.quantity)
        if event.price < 0:
            raise Invalid("quantity_invalid", "an event's price is not negative", field="price")
        exact = event.quantity * Fraction(event.price) * Fraction(model.multiplier)
        yield Part("usage", event.quantity, precise(Fraction(event.price) * Fraction(model.multiplier)), precise(exact))


def _checked(quantity: Any) -> Fraction:
    if isinstance(quantity, bool) or not isinstance(quantity, Fraction | int) or quantity < 0:
        raise Invalid("quantity_invalid", "a quantity is an exact number from 0", field="quantity")
    return Fraction(quantity)


def _by_quantity(model: Any, usage: Any) -> Iterator[Part]:
    quantity = _checked(usage)
    match model:
        case Flat(price):
            yield _part(quantity, price)
        case PerResult(price):
            yield _part(_whole(quantity), price)
        case Package(size, price):
            yield _part(Fraction(ceil(quantity / Fraction(size))), price)
        case Percentage(percent, fixed):
            yield Part("usage", quantity, percent, precise(quantity * Fraction(percent) / 100))
            yield from _fixed(fixed if quantity else Decimal(0))
        case Graduated():
            yield from _graduated(model, quantity)
        case Volume():
            yield from _volume(model, quantity)


def _whole(quantity: Fraction) -> Fraction:
    if quantity.denominator != 1:
        raise Invalid("quantity_invalid", "results are counted in whole numbers", field="quantity")
    return quantity


def _graduated(model: Graduated, quantity: Fraction) -> Iterator[Part]:
    """A part per tier that the quantity goes into."""
    below = Fraction(0)
    for tier in model.tiers:
        upper = quantity if tier.up_to is None else min(quantity, Fraction(tier.up_to))
        if upper > below:
            yield _part(upper - below, tier.price)
            yield from _fixed(tier.flat)
            below = upper


def _volume(model: Volume, quantity: Fraction) -> Iterator[Part]:
    """The whole quantity at the price of its tier; nothing used costs nothing."""
    tier = next(tier for tier in model.tiers if tier.up_to is None or quantity <= Fraction(tier.up_to))
    if quantity:
        yield _part(quantity, tier.price)
        yield from _fixed(tier.flat)
