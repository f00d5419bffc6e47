"""One scale for all indicators; of an indicator of which less is better the scale is turned. Pure.

minmax      100 (x - L) / (U - L)            L, U: least and greatest
goalposts   the same between fixed ends; beyond them it stands beyond 0 or 100
efficacy    60 + 40 (x - L) / (U - L)
zscore      50 + 10 (x - mean) / sd
rank        how many are not better, 1 to n
prank       100 (rank - 1) / (n - 1)
target      100 (x - L) / (T - L)
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from index.method.numbers import HUNDRED, deviation, mean

Values = Mapping[str, Decimal]


def normalise(
    values: Values, direction: int, how: str, posts: tuple[Decimal, Decimal] | None, target: Decimal | None
) -> dict[str, Decimal] | None:
    """Scores by region. None where all are equal and the ends are not fixed: such an indicator tells nobody from anybody.

    posts  fixed ends, which stand whatever the method is
    """
    if not values:
        return {}
    if posts:
        return _between(values, direction, *posts, Decimal(0), HUNDRED)
    least, most = min(values.values()), max(values.values())
    if least == most:
        return None
    if how == "zscore":
        middle, sd = mean(list(values.values())), deviation(list(values.values()))
        return {name: 50 + direction * 10 * (value - middle) / sd for name, value in values.items()}
    if how in {"rank", "prank"}:
        return _ranked(values, direction, how)
    if how == "target" and target is not None and (target > least if direction > 0 else target < most):
        start = least if direction > 0 else most
        return {name: HUNDRED * (value - start) / (target - start) for name, value in values.items()}
    low, high = (Decimal(60), HUNDRED) if how == "efficacy" else (Decimal(0), HUNDRED)
    return _between(values, direction, least, most, low, high)


def _between(values: Values, direction: int, least: Decimal, most: Decimal, low: Decimal, high: Decimal) -> dict[str, Decimal]:
    width = high - low
    if direction < 0:
        return {name: low + width * (most - value) / (most - least) for name, value in values.items()}
    return {name: low + width * (value - least) / (most - least) for name, value in values.items()}


def _ranked(values: Values, direction: int, how: str) -> dict[str, Decimal]:
    """Ties share the lower rank, as R's "min"."""
    ordered = sorted(direction * value for value in values.values())
    first: dict[Decimal, int] = {}
    for place, value in enumerate(ordered, 1):
        first.setdefault(value, place)
    places = {name: Decimal(first[direction * value]) for name, value in values.items()}
    if how == "rank":
        return places
    return {name: HUNDRED * (place - 1) / (len(values) - 1) for name, place in places.items()}
