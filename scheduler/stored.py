"""A round's input as JSON values and back, so that a stored round can be decided again. Pure.

Needs are rows that never change, so classes name theirs by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from scheduler.matching import ClassState, PoolState, Prices, Snapshot
from scheduler.network.values import Route
from scheduler.pace import Fit, Key
from scheduler.scene import offers_from, priced

LIVE: Final = ("shares", "backlog_s", "held", "ahead", "running", "closes_in_s", "probation")


def snapshot_document(snapshot: Snapshot, scene: Mapping[int, PoolState] | None = None) -> dict[str, Any]:
    """The planner's input as JSON values; `snapshot_from` reads it back.

    scene  pools without load that are stored elsewhere: of these, and of the offers, only what is live is written here
    """
    if scene is not None:
        live = {str(pool.id): _live(pool, scene[pool.id]) for pool in snapshot.pools if pool is not scene[pool.id]}
        return {"pools": [pool.id for pool in snapshot.pools], "live": live} | _surroundings(snapshot)
    offers = [[*key, prices.offer_id, dict(prices.rates)] for key, prices in snapshot.offers.items()]
    return {"pools": [asdict(pool) for pool in snapshot.pools], "offers": offers} | _surroundings(snapshot)


def _live(pool: PoolState, idle: PoolState) -> dict[str, Any]:
    """What of a pool differs from the scene."""
    return {name: value for name in LIVE if (value := getattr(pool, name)) != getattr(idle, name)}


def _surroundings(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "classes": [[one.need_id, one.waiting, list(one.avoid), list(one.apart), one.age_s] for one in snapshot.classes],
        "pace": [[*key, *fit] for key, fit in snapshot.pace.items()],
        "routes": [[*key, asdict(route)] for key, route in snapshot.routes.items()],
        "wide": [[*key, asdict(route)] for key, route in snapshot.wide.items()],
        "steady": [[*key, asdict(route)] for key, route in snapshot.steady.items()],
        "trust": [[*key, value] for key, value in snapshot.trust.items()],
        "cached": sorted(list(pair) for pair in snapshot.cached),
        "places": {sha: list(regions) for sha, regions in snapshot.places.items()},
        "carries": [[link, value] for link, value in snapshot.carries.items()],
        "slack": [[link, value] for link, value in snapshot.slack.items()],
        **{name: dict(getattr(snapshot, name)) for name in ("carbon", "budgets", "used")},
        "at": snapshot.at,
        **({"own": {name: _own(prices) for name, prices in snapshot.own.items()}} if snapshot.own else {}),
    }


def _own(prices: Mapping[int, Prices]) -> list[list[Any]]:
    return [[pool, one.offer_id, dict(one.rates)] for pool, one in sorted(prices.items())]


def whole(document: Mapping[str, Any], scene: Mapping[str, Any], moments: Iterable[str]) -> dict[str, Any]:
    """A round's document with its scene's pools and offers put back. Older rounds list what is live beside each pool."""
    idle, offers = {values["id"]: values for values in scene["pools"]}, offers_from(scene)
    pools, live = document["pools"], document.get("live")
    pairs = pools if live is None else [(pool, live.get(str(pool), {})) for pool in pools]
    listed = {at: priced(offers, at) for at in sorted(set(moments))}
    return dict(document) | {
        "pools": [idle[pool] | values for pool, values in pairs],
        "offers": [[pool, at, one.offer_id, dict(one.rates)] for at, found in listed.items() for pool, one in found.items()],
    }


def snapshot_from(document: Mapping[str, Any], needs: Mapping[int, Mapping[str, Any]]) -> Snapshot:
    """The planner's input as it was, from `snapshot_document` (made `whole` again) and the need documents by id."""
    return Snapshot(
        classes=[
            ClassState(need, needs[need], waiting, tuple(avoid), tuple(apart), age_s)
            for need, waiting, avoid, apart, age_s in document["classes"]
        ],
        pools=[_pool_from(values) for values in document["pools"]],
        offers={(pool, at): Prices(offer, rates) for pool, at, offer, rates in document["offers"]},
        own={
            name: {pool: Prices(offer, rates) for pool, offer, rates in prices} for name, prices in document.get("own", {}).items()
        },
        pace=dict(map(_pace_from, document["pace"])),
        routes={(one, other): _route_from(values) for one, other, values in document.get("routes", ())},
        wide={(one, other): _route_from(values) for one, other, values in document.get("wide", ())},
        steady={(one, other, level): _route_from(values) for one, other, level, values in document.get("steady", ())},
        trust={(pool, version): value for pool, version, value in document.get("trust", ())},
        cached=frozenset((pool, sha) for pool, sha in document.get("cached", ())),
        places={sha: tuple(regions) for sha, regions in document.get("places", {}).items()},
        carries={int(link): value for link, value in document.get("carries", ())},
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
    running = tuple((run_s, tuple((key, value) for key, value in held)) for run_s, held in values.get("running", ()))
    return PoolState(**flat | pairs | {"running": running})


def _route_from(values: Mapping[str, Any]) -> Route:
    return Route(**{**values, "links": tuple(values.get("links", ()))})
