"""Why an indicator moved: what happened since the last recount, as far as it touches the variables that moved. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from index.preview.moving import Move

MOST_POOLS: Final = 20  # numbers of pools that a change names
_SITES: Final = ("live_fp32_used_", "live_revenue", "live_new_applications")
_POOLS: Final = ("live_fp32_", "live_providers")
_CUSTOMERS: Final = ("live_customers", "live_industries")
_ALONE: Final = {
    "live_satisfaction": "ratings",
    "live_latency": "probes",
    "live_started": "starts",
    "live_started_in_time": "starts",
}
Pools = Mapping[str, tuple[str, str, int]]  # number -> kind, region, MFLOPS


@dataclass(frozen=True, slots=True)
class Charged:
    """Charges of a region since the last recount: how many, of how many tasks."""

    n: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Happened:
    """Since the last recount: pools that came, went or changed, by region; charges where pools stand and where customers are.

    after, until  the numbers of charges between which they lie: after < number <= until
    """

    pools: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    sites: Mapping[str, Charged] = field(default_factory=dict)
    customers: Mapping[str, Charged] = field(default_factory=dict)
    after: int = 0
    until: int = 0


def pools_moved(before: Pools, after: Pools) -> dict[str, tuple[int, ...]]:
    """By region: the numbers of pools that came, went or changed, rising; one that moved house stands in both."""
    found: dict[str, set[int]] = {}
    for number in before.keys() | after.keys():
        if before.get(number) != after.get(number):
            for one in (before.get(number), after.get(number)):
                if one is not None:
                    found.setdefault(one[1], set()).add(int(number))
    return {region: tuple(sorted(numbers)) for region, numbers in sorted(found.items())}


def cause_of(move: Move, happened: Happened) -> tuple[str, dict[str, Any]]:
    """(PreviewChange.cause, PreviewChange.causes) of a move. The nearest: charges before pools before the clock."""
    if not move.variables:
        return ("share" if move.leaf else "", {})
    charges = _charges(move, happened)
    if charges:
        return "charges", charges
    pools = happened.pools.get(move.region, ())
    if pools and _any(move.variables, _POOLS):
        return "pools", {"pools": list(pools[:MOST_POOLS]), "n": len(pools)}
    for variable in move.variables:
        if variable in _ALONE:
            return _ALONE[variable], {}
    return ("clock" if all(name.startswith("live_fp32_offered_") for name in move.variables) else "work"), {}


def _charges(move: Move, happened: Happened) -> dict[str, Any]:
    sides = (("site", _SITES, happened.sites), ("customer", _CUSTOMERS, happened.customers))
    for side, names, charged in sides:
        one = charged.get(move.region)
        if one and _any(move.variables, names):
            return {"charges": {"after": happened.after, "until": happened.until, "n": one.n, "tasks": one.tasks, "side": side}}
    return {}


def _any(variables: Iterable[str], beginnings: tuple[str, ...]) -> bool:
    return any(name.startswith(beginnings) for name in variables)
