"""The way of the data: what a unit's inputs and results cost in seconds and money on their way to each region. Pure.

A need names its large inputs, `inputs` [[sha256, bytes]]; the snapshot knows their places (regions that hold a copy) and the
pools that have them cached. The rest of `bytes_in`, and what has no place, comes from the market's store (`store`, a region,
or "" when nobody said where it is). Of several places the one from which the file arrives first is taken. Files come at
the same time, through the pool's own line; so the transfer takes as long as the slowest file, and never less than all
missing bytes through that line.

A network may have holes: where no way is known to a region, but ways to others are, the worst of those is taken for it. (No way
at all must not look like the shortest.) Where none is known to anywhere, only the pools' own lines count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scheduler.matching.market import Floats, Market
from scheduler.network.values import Route


@dataclass(slots=True)
class Way:
    """To each pool: seconds, money, grams of CO2, bytes; and by region the bytes over each link."""

    seconds: Floats
    price: Floats
    carbon_g: Floats
    moved: Floats
    links: dict[str, dict[int, float]] = field(default_factory=dict)


def arrival_s(route: Route | None, size: float) -> float:
    """Seconds until `size` bytes have arrived over a route; inside a region the pool's own line alone counts."""
    return 0.0 if route is None else route.latency_s + size * 8 / (max(route.mbps, 1e-6) * 1e6)


def way_in(doc: Mapping[str, Any], market: Market) -> Way:
    """The way of a unit's inputs to every pool."""
    large = [(str(sha), float(size)) for sha, size in doc.get("inputs", ())]
    rest = max(doc["bytes_in"] - sum(size for _, size in large), 0.0)
    store = (doc["store"],) if doc.get("store") else ()
    way = _nothing(market)
    for sha, size in [*large, ("", rest)]:
        if size:
            places = (*market.snapshot.places.get(sha, ()), *store)
            _add(way, market, places, _missing(market, sha, size), size)
    way.seconds = np.maximum(way.seconds, way.moved / market.bandwidth)
    return way


def way_out(doc: Mapping[str, Any], market: Market) -> Way:
    """The way of a unit's result back to the market's store."""
    way = _nothing(market)
    size = float(doc.get("bytes_out", 0))
    if size:
        _add(way, market, (doc["store"],) if doc.get("store") else (), np.full(len(market), size), size, back=True)
        way.seconds = np.maximum(way.seconds, way.moved / market.bandwidth)
    return way


def _nothing(market: Market) -> Way:
    nothing = np.zeros(len(market))
    return Way(nothing.copy(), nothing.copy(), nothing.copy(), nothing.copy())


def _missing(market: Market, sha: str, size: float) -> Floats:
    missing = np.full(len(market), size)
    if sha:
        for row, pool in enumerate(market.pools):
            if (pool.id, sha) in market.snapshot.cached:
                missing[row] = 0.0
    return missing


def _add(way: Way, market: Market, places: tuple[str, ...], missing: Floats, size: float, *, back: bool = False) -> None:
    """One file more: from the place whose copy arrives first, region by region."""
    regions, column = market.regions
    best = [_first(market, places, region, size, back=back) for region in regions]
    seconds = np.array([arrival_s(route, size) for route in best])
    by_price = np.array([route.price_per_gb if route else 0.0 for route in best])
    by_carbon = np.array([route.carbon_g_per_gb if route else 0.0 for route in best])
    lost = np.array([bool(places) and region not in places and route is None for region, route in zip(regions, best, strict=True)])
    if any(best) and lost.any():
        for known in (seconds, by_price, by_carbon):
            known[lost] = known.max()
    if not len(market):
        return
    way.seconds = np.maximum(way.seconds, np.where(missing > 0, seconds[column], 0.0))
    way.price += by_price[column] * missing / 1e9
    way.carbon_g += by_carbon[column] * missing / 1e9
    way.moved += missing
    for region, route in zip(regions, best, strict=True):
        for link in route.links if route else ():
            on_link = way.links.setdefault(region, {})
            on_link[link] = on_link.get(link, 0.0) + size


def _first(market: Market, places: tuple[str, ...], region: str, size: float, *, back: bool) -> Route | None:
    """The route by which a file arrives first; ties go to the quick way, then to the place first in the alphabet."""
    if region in places:
        return None
    snapshot = market.snapshot
    pairs = [(region, place) if back else (place, region) for place in sorted(places)]
    known = [ways.get(pair) for ways in (snapshot.routes, snapshot.wide) for pair in pairs]
    found = [(arrival_s(route, size), number, route) for number, route in enumerate(known) if route is not None]
    return min(found, key=lambda one: one[:2])[2] if found else None
