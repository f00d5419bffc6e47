"""Reads for the matcher: the market as of now, in a constant number of statements.

The count of waiting units is bounded per class by what a round could place, so a round costs classes x pools
and not units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models.functions import Lower
from django.utils import timezone

from marketplace.carbon import carbon_now
from marketplace.loads import Load
from marketplace.models import BlobPlace, Offer, Pool, Rate, Region
from scheduler.matching import ClassState, PoolState, Prices, Snapshot
from scheduler.matching.loads import load_of, used_by
from scheduler.models import Need, Pace
from scheduler.needs import of_variant
from scheduler.pace import Fit, Key, with_anywhere
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
SELECT class.need_id, w.avoid, count(*), min(w.id),
       (SELECT extract(epoch FROM now() - t.created_at)::float FROM scheduler_unit u JOIN marketplace_task t ON t.id = u.task_id
        WHERE u.id = min(w.id)) AS age_s
FROM class CROSS JOIN LATERAL (
    SELECT u.id, u.avoid FROM scheduler_unit u
    WHERE u.state = 'waiting' AND u.need_id = class.need_id AND (u.not_before IS NULL OR u.not_before <= now())
    ORDER BY u.id LIMIT %s
) w
WHERE class.need_id IS NOT NULL
GROUP BY class.need_id, w.avoid ORDER BY min(w.id)
"""
_LOAD = """
SELECT pool_id, need_id, variant, count(*) FROM scheduler_unit WHERE state = 'placed' GROUP BY 1, 2, 3
UNION ALL
SELECT pool_id, need_id, variant, count(*) FROM scheduler_attempt WHERE state IN ('leased', 'running') GROUP BY 1, 2, 3
"""


def waiting_classes(limit: int = WAITING_PER_CLASS) -> list[ClassState]:
    """Waiting units by class and pools to avoid, oldest class first, at most `limit` counted per class."""
    found = rows(_WAITING, [limit])
    documents = documents_of({need_id for need_id, *_ in found})
    return [
        ClassState(need_id, documents[need_id], count, tuple(avoid), age_s=round(max(age_s, 0.0), 1))
        for need_id, avoid, count, _, age_s in found
    ]


def documents_of(need_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Need documents by id."""
    return dict(Need.objects.filter(id__in=list(need_ids)).values_list("id", "document"))


def open_pools(*, online_only: bool) -> list[Pool]:
    """Active pools in the order of their identifiers; `online_only` wants an agent whose lease has not run out."""
    pools = Pool.objects.filter(state=Pool.State.ACTIVE).select_related("region", "organization")
    if online_only:
        pools = pools.filter(agents__retired_at__isnull=True, agents__lease_until__gt=timezone.now())
    return list(pools.filter(organization__suspended_at__isnull=True).order_by("identifier").distinct())


def market(classes: list[ClassState], *, online_only: bool = True, with_load: bool = True) -> Snapshot:
    """The snapshot of a round: pools with their load, offers, paces and surroundings for the classes given."""
    now = timezone.now()
    found = open_pools(online_only=online_only)
    pools = [pool_state(pool) for pool in found]
    pace = _pace({one.document["version"] for one in classes})
    load = _load(pools, pace) if with_load else Held(pools, {})
    moments = {one.document["offers_at"] for one in classes}
    return Snapshot(
        classes=classes,
        pools=load.pools,
        offers=_offers([pool.id for pool in pools], moments),
        pace=pace,
        carbon={pool.region.code: _carbon(pool.region, now) for pool in found},
        places=_places({sha for one in classes for sha, _ in one.document.get("inputs", ())}),
        used=load.used,
        at=round(now.timestamp(), 3),
    )


def _carbon(region: Region, now: datetime) -> float:
    hour = timezone.localtime(now).hour
    return round(carbon_now(region.carbon_g_per_kwh, region.carbon_by_hour, hour), 3)


def _places(sha256s: set[str]) -> dict[str, tuple[str, ...]]:
    """Regions that hold a copy of each of these blobs."""
    places: dict[str, list[str]] = defaultdict(list)
    if sha256s:
        held = BlobPlace.objects.filter(blob__in=sha256s).order_by("blob_id", "region__code")
        for sha, region in held.values_list("blob_id", "region__code"):
            places[sha].append(region)
    return {sha: tuple(regions) for sha, regions in places.items()}


def pool_state(pool: Pool) -> PoolState:
    """A pool's row as the matcher's value, without load."""
    return PoolState(
        id=pool.id,
        identifier=pool.identifier,
        region=pool.region.code,
        provider=pool.organization.slug,
        instruction_set=pool.instruction_set,
        cores=pool.cores,
        memory_mib=pool.memory_mib,
        disk_mib=pool.disk_mib,
        accelerators=tuple((a["model"], a["count"]) for a in pool.accelerators),
        executors=tuple(pool.executors),
        mflops=pool.fp32_mflops,
        bandwidth_mbps=pool.bandwidth_mbps,
        allow=tuple(pool.allow_organizations),
        deny=tuple(pool.deny_organizations),
    )


def _pace(versions: set[int]) -> dict[Key, Fit]:
    found = Pace.objects.filter(capability_version_id__in=versions)
    keys = found.values_list("capability_version_id", "stage", "variant", "pool_id", *Fit._fields)
    return with_anywhere({(version, stage, variant, pool): Fit(*sums) for version, stage, variant, pool, *sums in keys})


@dataclass(frozen=True)
class Held:
    """Pools with their load, and the dominant share of the market that each organization holds."""

    pools: list[PoolState]
    used: dict[str, float]


def _load(pools: list[PoolState], pace: dict[Key, Fit]) -> Held:
    """What is placed on pools or leased by them, in two statements; what it means is `load_of`'s business."""
    known = {pool.id for pool in pools}
    found = [row for row in rows(_LOAD) if row[0] in known]
    documents = documents_of({need_id for _, need_id, *_ in found})
    pace = pace | _pace({doc["version"] for doc in documents.values()})
    on_pools: dict[int, list[tuple[Mapping[str, Any], int]]] = defaultdict(list)
    for pool_id, need_id, variant, n in found:
        on_pools[pool_id].append((of_variant(documents[need_id], variant), n))
    loads = {pool.id: load_of(pool, on_pools.get(pool.id, []), pace) for pool in pools}
    return Held([loads[pool.id].pool for pool in pools], used_by([loads[pool.id] for pool in pools]))


def _offers(pool_ids: list[int], moments: set[str]) -> dict[tuple[int, str], Prices]:
    """The offer of each pool at each moment; a pool that had none then is priced by its first one after."""
    offers = Offer.objects.filter(pool_id__in=pool_ids).order_by(Lower("valid"))
    rates: dict[int, dict[str, float]] = defaultdict(dict)
    for offer_id, meter, price in Rate.objects.filter(offer__pool_id__in=pool_ids).values_list(
        "offer_id", "meter", "unit_price"
    ):
        rates[offer_id][meter] = float(price)
    by_pool: dict[int, list[Offer]] = defaultdict(list)
    for offer in offers:
        by_pool[offer.pool_id].append(offer)
    pairs = ((pool_id, moment) for pool_id in pool_ids for moment in moments)
    found = {(p, m): offer_at(by_pool[p], datetime.fromisoformat(m)) for p, m in pairs}
    return {pair: Prices(one.pk, rates[one.pk]) for pair, one in found.items() if one is not None}


_LEASED = """
SELECT a.pool_id,
       sum((coalesce(n.document->'variants'->a.variant->'need', n.document->'need')->>'cores')::int)::int, count(*)::int
FROM scheduler_attempt a JOIN scheduler_need n ON n.id = a.need_id
WHERE a.state IN ('leased', 'running') AND a.pool_id = ANY(%s) GROUP BY a.pool_id
"""


def loads_of_pools(pool_ids: Collection[int]) -> dict[int, Load]:
    """Cores held by live leases and live attempts, per pool; idle pools are left out."""
    return {pool_id: Load(cores, attempts) for pool_id, cores, attempts in rows(_LEASED, [list(pool_ids)])}


def offer_at(offers: list[Offer], moment: datetime) -> Offer | None:
    """The offer valid at a moment, else the first that begins after it (offers sorted by their begin)."""
    for offer in offers:
        if offer.valid.upper is None or offer.valid.upper > moment:
            return offer
    return None


_EPOCH = """
SELECT max(moment) FROM marketplace_offer o
CROSS JOIN LATERAL (VALUES (lower(o.valid)), (upper(o.valid))) AS edge(moment) WHERE moment <= %s
"""


def offers_epoch(now: datetime) -> datetime:
    """The last moment up to `now` at which any offer began or ended: submits in between share their prices."""
    edge: datetime | None = scalar(_EPOCH, [now])
    return edge or now
