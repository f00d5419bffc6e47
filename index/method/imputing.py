"""What is missing filled from what is known, where a run asks for it. Pure. Off by default, and always marked.

    mean        of the regions of which the indicator is known
    median      of them
    group_mean  of those of the same zone: east, north-east, centre and west as the National Bureau of Statistics divides them

After the rule of the JRC a region, and an indicator, of which less than the least coverage is known is left as it is: so few values
say nothing of the others. What was filled counts in scores, and does not count as known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from index.method.numbers import mean
from index.regions import zone_of

RULES: Final = ("none", "mean", "median", "group_mean")
Table = Mapping[str, Mapping[str, Decimal]]
Filled = dict[str, dict[str, Decimal]]


def impute(raw: Table, rule: str, least: Decimal) -> Filled:
    """By leaf and region, what fills the holes of raw values. raw  leaf -> region -> value; least  0 to 1."""
    regions = sorted({region for values in raw.values() for region in values})
    if rule == "none" or not regions:
        return {}
    fit = [region for region in regions if _share(sum(region in values for values in raw.values()), len(raw)) >= least]
    found: Filled = {}
    for leaf, values in raw.items():
        if values and _share(len(values), len(regions)) >= least:
            told = {
                region: value for region in fit if region not in values and (value := _FILLERS[rule](values, region)) is not None
            }
            found |= {leaf: told} if told else {}
    return found


def filled(raw: Table, more: Table) -> Filled:
    """Raw values with those that fill their holes, regions in order."""
    return {leaf: dict(sorted({**values, **more.get(leaf, {})}.items())) for leaf, values in raw.items()}


def known(table: Table, more: Table) -> Filled:
    """A table by leaf without the regions that were filled."""
    return {
        leaf: {region: value for region, value in row.items() if region not in more.get(leaf, {})} for leaf, row in table.items()
    }


def _share(some: int, of: int) -> Decimal:
    return Decimal(some) / of


def _mean(values: Mapping[str, Decimal], _region: str) -> Decimal:
    return mean(list(values.values()))


def _median(values: Mapping[str, Decimal], _region: str) -> Decimal:
    return _middle(sorted(values.values()))


def _middle(ordered: Sequence[Decimal]) -> Decimal:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _group_mean(values: Mapping[str, Decimal], region: str) -> Decimal | None:
    """None where nothing of the zone is known."""
    beside = [value for other, value in values.items() if zone_of(other) == zone_of(region)]
    return mean(beside) if beside else None


_FILLERS: Final[Mapping[str, Callable[[Mapping[str, Decimal], str], Decimal | None]]] = {
    "mean": _mean, "median": _median, "group_mean": _group_mean,
}  # fmt: skip
