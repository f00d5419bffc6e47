"""A round's input as JSON values and back, so that a stored round can be decided again. Pure.

Needs are rows that never change, so classes name theirs by id. Values not given have their defaults: rounds stored by an
older release can still be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from scheduler.matching import ClassState, PoolState, Prices, Snapshot
from scheduler.network.values import Route
from scheduler.pace import Fit, Key


def snapshot_document(snapshot: Snapshot) -> dict[str, Any]:
    """The planner's input as JSON values; `snapshot_from` reads it back."""
    return {
        "classes": [[one.need_id, one.waiting, list(one.avoid), one.age_s] for one in snapshot.classes],
        "pools": [asdict(pool) for pool in snapshot.pools],
        "offers": [[*key, prices.offer_id, dict(prices.rates)] for key, prices in snapshot.offers.items()],
        "pace": [[*key, *fit] for key, fit in snapshot.pace.items()],
        "routes": [[*key, asdict(route)] for key, route in snapshot.routes.items()],
        "trust": [[*key, value] for key, value in snapshot.trust.items()],
        "cached": sorted(list(pair) for pair in snapshot.cached),
        "places": {sha: list(regions) for sha, regions in snapshot.places.items()},
        "slack": [[link, value] for link, value in snapshot.slack.items()],
        **{name: dict(getattr(snapshot, name)) for name in ("carbon", "budgets", "used")},
        "at": snapshot.at,
    }


def snapshot_from(document: Mapping[str, Any], needs: Mapping[int, Mapping[str, Any]]) -> Snapshot:
    """The planner's input as it was, from `snapshot_document` and the need documents by id."""
    return Snapshot(
        classes=[
            ClassState(need, needs[need], waiting, tuple(avoid), *rest) for need, waiting, avoid, *rest in document["classes"]
        ],
        pools=[_pool_from(values) for values in document["pools"]],
        offers={(pool, at): Prices(offer, rates) for pool, at, offer, rates in document["offers"]},
        pace=dict(map(_pace_from, document["pace"])),
        routes={(one, other): _route_from(values) for one, other, values in document.get("routes", ())},
        trust={(pool, version): value for pool, version, value in document.get("trust", ())},
        cached=frozenset((pool, sha) for pool, sha in document.get("cached", ())),
        places={sha: tuple(regions) for sha, regions in document.get("places", {}).items()},
        slack={int(link): value for link, value in document.get("slack", ())},
        **{name: document.get(name, {}) for name in ("carbon", "budgets", "used")},
        at=document.get("at", 0.0),
    )


def _pace_from(values: list[Any]) -> tuple[Key, Fit]:
    """Rounds stored before there were variants name three parts of the key and five sums."""
    if len(values) == 8:
        version, stage, pool, *sums = values
        return (version, stage, 0, pool), Fit(*sums)
    return (values[0], values[1], values[2], values[3]), Fit(*values[4:])


def _pool_from(values: Mapping[str, Any]) -> PoolState:
    """Lists become tuples again, accelerators and what is held pairs."""
    flat = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    pairs = {name: tuple((key, value) for key, value in values.get(name, ())) for name in ("accelerators", "held")}
    return PoolState(**flat | pairs)


def _route_from(values: Mapping[str, Any]) -> Route:
    return Route(**{**values, "links": tuple(values.get("links", ()))})
