"""Fair shares of organizations when there is not enough for all: dominant resource fairness. Pure.

An organization's dominant share is the largest part of any one resource of the whole market that its units take
(Ghodsi et al., NSDI 2011). Progressive filling raises all organizations' shares together; who wants no more drops out
and leaves the rest to the others. The result, less what it already uses, is what a round owes an organization at least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scheduler.matching.columns import Column
from scheduler.matching.market import Floats, Market

ENOUGH: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Due:
    """What a round owes an organization: `due` of the market, in dominant shares; each share lacking costs `lack_cost`."""

    organization: str
    due: float
    lack_cost: float
    totals: Mapping[str, float]

    def share_of(self, need: Mapping[str, float]) -> float:
        """The part of the market that one unit takes."""
        return market_share(need, self.totals)


def market_share(need: Mapping[str, float], totals: Mapping[str, float]) -> float:
    """A unit's dominant share of the whole market."""
    return max((amount / totals[name] for name, amount in need.items() if totals.get(name, 0) > 0), default=0.0)


def fill(wants: Mapping[str, float], supply: float) -> dict[str, float]:
    """Progressive filling: equal shares of the supply, but nobody more than it wants.

    >>> fill({"a": 0.1, "b": 0.9, "c": 0.9}, 1.0)
    {'a': 0.1, 'b': 0.45, 'c': 0.45}
    """
    given: dict[str, float] = {}
    left, waiting = supply, sorted(wants.items(), key=lambda pair: (pair[1], pair[0]))
    while waiting:
        equal = max(left, 0.0) / len(waiting)
        name, want = waiting.pop(0)
        given[name] = min(want, equal)
        left -= given[name]
    return dict(sorted(given.items()))


def dues(found: Sequence[Column], market: Market, used: Mapping[str, float], waiting: Floats) -> list[Due]:
    """What each organization is owed by this round; nothing when all fits, or when only one asks.

    used  organization → dominant share of the market that its live units hold    waiting  what a unit's waiting costs, by class
    """
    totals = {name: float(column.sum()) for name, column in market.declared.items()}
    wants: dict[str, float] = {}
    for one in found:
        asked = one.one.waiting * market_share(one.typical, totals)
        organization = one.one.document["organization"]
        wants[organization] = wants.get(organization, 0.0) + asked
    everybody = {name: wants.get(name, 0.0) + used.get(name, 0.0) for name in wants.keys() | used.keys()}
    if len(wants) < 2 or sum(everybody.values()) <= 1.0:
        return []
    entitled = fill(everybody, 1.0)
    free = _free_share(market)
    owed = {name: min(max(entitled[name] - used.get(name, 0.0), 0.0), wants[name]) for name in wants}
    scale = min(1.0, free / total) if (total := sum(owed.values())) > ENOUGH else 0.0
    lack_cost = _lack_cost(found, totals, waiting)
    return [
        Due(name, owed[name] * scale, lack_cost, totals)
        for name in sorted(owed)
        if owed[name] * scale > ENOUGH
    ]


def _free_share(market: Market) -> float:
    """The part of the market that nobody holds, by its scarcest resource in use."""
    parts = [float(market.free[name].sum() / column.sum()) for name, column in market.declared.items() if column.sum() > 0]
    return min(parts, default=0.0)


def _lack_cost(found: Sequence[Column], totals: Mapping[str, float], waiting: Floats) -> float:
    """Per share lacking: half as much again as anybody would gain by having the share instead."""
    gains = [
        (float(leave) - float(one.cost(0.0)[one.fits].min())) / max(market_share(one.typical, totals), ENOUGH)
        for one, leave in zip(found, waiting, strict=True)
    ]
    return 1.5 * max(*gains, ENOUGH)
