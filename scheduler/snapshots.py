"""Reads for the matcher: the market as of now, in a constant number of statements.

The count of waiting units is bounded per class by what a round could place, so a round costs classes x pools
and not units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from marketplace.carbon import carbon_now
from marketplace.models import BlobPlace, CachedBlob, Pool, Region
from scheduler.closings import closings_of
from scheduler.matching import ClassState, PoolState, Prices, Snapshot, own_prices
from scheduler.matching.links import between, carries, ends_of, levels_of, slack_of
from scheduler.matching.loads import load_of, used_by
from scheduler.models import Need, Pace
from scheduler.needs import of_variant
from scheduler.network_snapshot import network
from scheduler.pace import Fit, Key, with_anywhere
from scheduler.scene import Scene, scene
from scheduler.services.trusting import trust_of
from scheduler.sql import rows, scalar

WAITING_PER_CLASS = 20_000

# A loose index scan: one probe per class instead of one row per unit.
_WAITING = """
WITH RECURSIVE class(need_id) AS (
    (SELECT need_id FROM scheduler_unit WHERE state = 'waiting' ORDER BY need_id LIMIT 1)
    UNION ALL
    SELECT (SELECT u.need_id FROM scheduler_unit u
            WHERE u.state = 'waiting' AND u.need_id > class.need_id ORDER BY u.need_id LIMIT 1)
    FROM class WHERE class.need_id IS NOT NULL
)
SELECT class.need_id, w.avoid, w.apart, count(*), min(w.id),
       (SELECT extract(epoch FROM now() - t.created_at)::float FROM scheduler_unit u JOIN marketplace_task t ON t.id = u.task_id
        WHERE u.id = min(w.id)) AS age_s
FROM class CROSS JOIN LATERAL (
    SELECT u.id, u.avoid, u.apart FROM scheduler_unit u
    WHERE u.state = 'waiting' AND u.need_id = class.need_id AND (u.not_before IS NULL OR u.not_before <= now())
      AND u.task_id NOT IN (SELECT task_id FROM marketplace_taskpause)
    ORDER BY u.id LIMIT %s
) w
WHERE class.need_id IS NOT NULL
GROUP BY class.need_id, w.avoid, w.apart ORDER BY min(w.id)
"""
# The last column: are their inputs still on their way? Who only waits to show a result holds no processor any more.
_LOAD = """
SELECT pool_id, need_id, variant, count(*), true FROM scheduler_unit WHERE state = 'placed'{without} GROUP BY 1, 2, 3
UNION ALL
SELECT pool_id, need_id, variant, count(*), state = 'leased' FROM scheduler_attempt WHERE state IN ('leased', 'running'){without}
  AND id NOT IN (SELECT attempt_id FROM scheduler_commitment WHERE state IN ('committed', 'asked'))
GROUP BY pool_id, need_id, variant, state
"""


def waiting_classes(limit: int = WAITING_PER_CLASS) -> list[ClassState]:
    """Waiting units by class and pools to avoid, oldest class first, at most `limit` counted per class."""
    found = rows(_WAITING, [limit])
    documents = documents_of({need_id for need_id, *_ in found})
    return [
        ClassState(need_id, documents[need_id], count, tuple(avoid), tuple(apart), age_s=round(max(age_s, 0.0), 1))
        for need_id, avoid, apart, count, _, age_s in found
    ]


def documents_of(need_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Need documents by id."""
    return dict(Need.objects.filter(id__in=list(need_ids)).values_list("id", "document"))


_ONLINE = "SELECT pool_id FROM marketplace_agent WHERE retired_at IS NULL AND lease_until > now()"


def online_pools() -> set[int]:
    """Pools with an agent whose lease has not run out."""
    return {pool_id for (pool_id,) in rows(_ONLINE)}


def open_pools(*, online_only: bool) -> list[Pool]:
    """Active pools in the order of their identifiers; `online_only` wants an agent whose lease has not run out.

    Those in quarantine are away, too; once it is over they are on probation until a result of theirs was right.
    """
    return _open(scene(), online_only=online_only)


def _open(known: Scene, *, online_only: bool) -> list[Pool]:
    pools = known.pools
    if not online_only:
        return pools
    now, online = timezone.now(), online_pools()
    return [p for p in pools if p.pk in online and (p.quarantined_until is None or p.quarantined_until <= now)]


def market(
    classes: list[ClassState],
    *,
    online_only: bool = True,
    with_load: bool = True,
    without: UUID | None = None,
    eased: bool = False,
) -> Snapshot:
    """The snapshot of a round: pools with their load, offers, paces and surroundings for the classes given.

    without  a task whose own units are no load: the market as it would be if that task had not been handed in
    eased    with the ways of worse classes of jitter than are asked for, too
    """
    return market_in(scene(), classes, online_only=online_only, with_load=with_load, without=without, eased=eased)


def market_in(
    known: Scene,
    classes: list[ClassState],
    *,
    online_only: bool = True,
    with_load: bool = True,
    without: UUID | None = None,
    eased: bool = False,
) -> Snapshot:
    """The same, of a scene that the caller holds."""
    now = timezone.now()
    pools = _here(known) if online_only else known.able  # a probation passes, as an absence does
    pace = _pace({one.document["version"] for one in classes})
    load = _load(pools, pace, without) if with_load else Held(pools, {}, [])
    large = {sha for one in classes for sha, _ in one.document.get("inputs", ())}
    moments = {one.document["offers_at"] for one in classes}
    snapshot = Snapshot(
        classes=classes,
        pools=load.pools,
        offers={(pool, at): one for at in sorted(moments) for pool, one in known.priced(at).items()},
        pace=pace,
        carbon={code: _carbon(region, now) for code, region in known.regions.items()},
        places=_places([*(one.document for one in classes), *(doc for _, doc, _ in load.moving)]),
        trust=trust_of({one.document["version"] for one in classes}),
        cached=_cached(large),
        used=load.used,
        at=round(now.timestamp(), 3),
        own=_own(known, classes),
    )
    return _with_network(snapshot, load.moving, eased=eased)


def _own(known: Scene, classes: list[ClassState]) -> dict[str, dict[int, Prices]]:
    """The own prices of those who ask, where they have any."""
    asked = {own_prices(one.document): one.document for one in classes if one.document["organization"] in known.own}
    found = {name: known.agreed(doc["organization"], doc["offers_at"]) for name, doc in sorted(asked.items())}
    return {name: prices for name, prices in found.items() if prices}


def _here(known: Scene) -> list[PoolState]:
    """Pools that may take work now, with the moments at which they close."""
    found = _open(known, online_only=True)
    closing = closings_of(found)
    pools = [known.states[pool.pk] for pool in found]
    return [replace(p, closes_in_s=closing[p.id].closes_in_s) if p.id in closing else p for p in pools]


def _cached(sha256s: set[str]) -> frozenset[tuple[int, str]]:
    """(pool, sha256) pairs of these inputs that agents have kept."""
    if not sha256s:
        return frozenset()
    return frozenset(CachedBlob.objects.filter(sha256__in=sha256s).values_list("pool_id", "sha256"))


def _with_network(snapshot: Snapshot, moving: list[tuple[int, Mapping[str, Any], int]], *, eased: bool = False) -> Snapshot:
    """The same with the ways that its classes' data may take, and with what those links still carry."""
    ends = ends_of(snapshot)
    if not ends:
        return snapshot
    known = network()
    asked = levels_of(snapshot)
    levels = range(min(asked), 4) if eased and asked else sorted(asked)
    steady = {(*pair, level): route for level in levels for pair, route in known.routes(level).items()}
    routed = replace(
        snapshot,
        routes=between(known.routes(), ends, snapshot),
        wide=between(known.wide(), ends, snapshot),
        steady={key: route for key, route in steady.items() if key[0] in ends},
    )
    free = {link: one.free_mbps for link, one in known.graph.links.items()}
    carried = carries(routed, free)
    return replace(routed, carries=carried, slack=slack_of(replace(routed, carries=carried), moving))


def _carbon(region: Region, now: datetime) -> float:
    hour = timezone.localtime(now).hour
    return round(carbon_now(region.carbon_g_per_kwh, region.carbon_by_hour, hour), 3)


def _places(documents: list[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Regions that hold a copy of each large input of these needs."""
    sha256s = {sha for document in documents for sha, _ in document.get("inputs", ())}
    places: dict[str, list[str]] = defaultdict(list)
    if sha256s:
        held = BlobPlace.objects.filter(blob__in=sha256s).order_by("blob_id", "region__code")
        for sha, region in held.values_list("blob_id", "region__code"):
            places[sha].append(region)
    return {sha: tuple(regions) for sha, regions in places.items()}


def _pace(versions: set[int]) -> dict[Key, Fit]:
    found = Pace.objects.filter(capability_version_id__in=versions)
    keys = found.values_list("capability_version_id", "stage", "variant", "pool_id", *Fit._fields)
    return with_anywhere({(version, stage, variant, pool): Fit(*sums) for version, stage, variant, pool, *sums in keys})


@dataclass(frozen=True)
class Held:
    """Pools with their load, the dominant share of the market that each organization holds, and what is on its way.

    moving  (pool, need document, units)
    """

    pools: list[PoolState]
    used: dict[str, float]
    moving: list[tuple[int, Mapping[str, Any], int]]


def _load(pools: list[PoolState], pace: dict[Key, Fit], without: UUID | None = None) -> Held:
    """What is placed on pools or leased by them, in two statements; what it means is `load_of`'s business."""
    known = {pool.id for pool in pools}
    others, params = ("", []) if without is None else (" AND task_id <> %s", [without, without])
    found = [row for row in rows(_LOAD.format(without=others), params) if row[0] in known]
    documents = documents_of({need_id for _, need_id, *_ in found})
    pace = pace | _pace({doc["version"] for doc in documents.values()})
    on_pools: dict[int, list[tuple[Mapping[str, Any], int]]] = defaultdict(list)
    moving: list[tuple[int, Mapping[str, Any], int]] = []
    for pool_id, need_id, variant, n, on_its_way in found:
        document = of_variant(documents[need_id], variant)
        on_pools[pool_id].append((document, n))
        if on_its_way:
            moving.append((pool_id, document, n))
    loads = {pool.id: load_of(pool, on_pools[pool.id], pace) for pool in pools if pool.id in on_pools}
    loaded = [loads[pool.id].pool if pool.id in loads else pool for pool in pools]
    return Held(loaded, used_by(pools, list(loads.values())), moving)


_EPOCH = """
SELECT max(moment) FROM marketplace_offer o
CROSS JOIN LATERAL (VALUES (lower(o.valid)), (upper(o.valid))) AS edge(moment) WHERE o.origin_id IS NULL AND moment <= %s
"""


def offers_epoch(now: datetime) -> datetime:
    """The last moment up to `now` at which any offer began or ended: submits in between share their prices."""
    edge: datetime | None = scalar(_EPOCH, [now])
    return edge or now
