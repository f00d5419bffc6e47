"""What of the market changes rarely: active pools and their offers. Kept by each process as long as no row has changed.

One statement asks whether anything changed: the sum over a table of its rows' versions (xmin, the transaction that wrote
each; cmin, the command within it) is another after any insert, update or delete that can be seen. So a round of a thousand
pools reads a handful of numbers instead of thousands of rows, and never an old price.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Any, Final

import orjson
from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Lower

from marketplace.models import Offer, Pool, Rate, Region
from scheduler.matching import Market, PoolState, Prices, Snapshot
from scheduler.sql import rows

_VERSION: Final = "(SELECT count(*)::text || ':' || coalesce(sum(xmin::text::bigint * 1048573 + cmin::text::bigint), 0) FROM {})"
# Lists that rounds froze, and their prices, are left out: a round would outdate the scene by itself.
_LISTED: Final = {"offer": " WHERE origin_id IS NULL", "rate": " WHERE NOT of_round"}
_TABLES: Final = ("pool", "offer", "rate", "organization", "region")
_STAMP: Final = "SELECT " + ", ".join(_VERSION.format(f"marketplace_{name}{_LISTED.get(name, '')}") for name in _TABLES)
# The price of a peak, as an offer states it for quotes, is of a second that something is held.
COUNTED_AS: Final = {"held_cores": "occupancy_second", "held_accelerators": "accelerator_second"}
MOMENTS: Final = 200  # price lists of so many moments are kept


@dataclass(frozen=True, slots=True)
class Listed:
    """An offer: its id, when it ends, its unit prices."""

    id: int
    until: datetime | None
    rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Own:
    """A price list that one customer has with a pool, in force in [since, until)."""

    pool: int
    since: datetime
    listed: Listed


@dataclass
class Scene:
    """Active pools of organizations in good standing, in the order of identifiers, and the offers of each by their begin.

    own  short name of an organization → the prices it has agreed on with providers
    """

    pools: list[Pool]
    offers: Mapping[int, list[Listed]]
    own: Mapping[str, list[Own]] = field(default_factory=dict)
    _priced: dict[str, dict[int, Prices]] = field(default_factory=dict)

    @cached_property
    def states(self) -> dict[int, PoolState]:
        """The pools as the planner's values, without load."""
        return {pool.pk: state_of(pool) for pool in self.pools}

    @cached_property
    def able(self) -> list[PoolState]:
        """The same with what passes left out: who is on probation will be through."""
        return [replace(state, probation=False) if state.probation else state for state in self.states.values()]

    @cached_property
    def columns(self) -> Market:
        """Their columns, for what is asked of them without load."""
        return Market(Snapshot([], self.able, {})).worked_out()

    @cached_property
    def regions(self) -> dict[str, Region]:
        """The regions that have pools, by code."""
        return {pool.region.code: pool.region for pool in self.pools}

    def priced(self, at: str) -> Mapping[int, Prices]:
        """The offer of each pool at a moment."""
        if at not in self._priced:
            if len(self._priced) >= MOMENTS:
                self._priced.clear()
            self._priced[at] = priced(self.offers, at)
        return self._priced[at]

    def agreed(self, organization: str, at: str) -> dict[int, Prices]:
        """What an organization has agreed on for a moment, by pool: it stands in the place of the pool's offer."""
        found = self.own.get(organization, ())
        moment = datetime.fromisoformat(at) if found else None
        return {
            one.pool: Prices(one.listed.id, one.listed.rates)
            for one in found
            if moment and one.since <= moment and (one.listed.until is None or moment < one.listed.until)
        }

    @cached_property
    def document(self) -> dict[str, Any]:
        """As JSON values: what replay reads instead of the rows of that time."""
        return {
            "pools": [asdict(state) for state in self.states.values()],
            "offers": {
                str(pool): [[one.id, None if one.until is None else one.until.isoformat(), dict(one.rates)] for one in listed]
                for pool, listed in self.offers.items()
            },
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the document."""
        return hashlib.sha256(orjson.dumps(self.document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def state_of(pool: Pool) -> PoolState:
    """A pool's row as the planner's value, without load."""
    return PoolState(
        id=pool.pk,
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
        probation=pool.quarantined_until is not None,
        level=pool.level,
        unproven=is_unproven(pool),
        worth=worth_of(pool.level),
    )


def is_unproven(pool: Pool) -> bool:
    """Is it a community pool below the level from which operators believe a single result?"""
    return pool.kind == Pool.Kind.COMMUNITY and pool.level < settings.COMMUNITY_PROVEN_LEVEL


def unproven_ones() -> Q:
    """The same question of rows."""
    return Q(kind=Pool.Kind.COMMUNITY, level__lt=settings.COMMUNITY_PROVEN_LEVEL)


def worth_of(level: int) -> float | None:
    """What a unit may be worth for a single result of a pool of this level to be believed; None: as much as it likes."""
    listed: tuple[float, ...] = settings.LEVEL_WORTH
    return listed[level] if level < len(listed) else None


def priced(offers: Mapping[int, Iterable[Listed]], at: str) -> dict[int, Prices]:
    """The offer of each pool at a moment; a pool that had none then is priced by its first one after."""
    moment, found = datetime.fromisoformat(at), dict[int, Prices]()
    for pool, listed in offers.items():
        one = next((one for one in listed if one.until is None or one.until > moment), None)
        if one is not None:
            found[pool] = Prices(one.id, one.rates)
    return found


def offers_from(document: Mapping[str, Any]) -> dict[int, list[Listed]]:
    """The offers of a stored scene."""
    return {
        int(pool): [Listed(i, None if until is None else datetime.fromisoformat(until), rates) for i, until, rates in listed]
        for pool, listed in document["offers"].items()
    }


@dataclass
class _Kept:
    stamp: Any = None
    scene: Scene | None = None
    lock: Lock = field(default_factory=Lock)


_kept = _Kept()


def scene() -> Scene:
    """The scene as of now: one statement, or four after a change."""
    stamp = (*rows(_STAMP)[0], settings.COMMUNITY_PROVEN_LEVEL, settings.LEVEL_WORTH)
    with _kept.lock:
        if _kept.scene is not None and _kept.stamp == stamp:
            return _kept.scene
    found = read_scene()
    with _kept.lock:
        _kept.stamp, _kept.scene = stamp, found
    return found


def read_scene() -> Scene:
    """The scene from the rows."""
    active = Pool.objects.filter(state=Pool.State.ACTIVE, organization__suspended_at__isnull=True)
    pools = list(active.select_related("region", "organization").order_by("identifier"))
    rates: dict[int, dict[str, float]] = defaultdict(dict)
    for offer, meter, price in Rate.objects.filter(of_round=False).order_by("id").values_list("offer_id", "meter", "unit_price"):
        rates[offer][COUNTED_AS.get(meter, meter)] = float(price)
    offers: dict[int, list[Listed]] = {pool.pk: [] for pool in pools}
    own: dict[str, list[Own]] = defaultdict(list)
    every = Offer.objects.filter(origin=None).order_by(Lower("valid")).values_list("id", "pool_id", "valid", "customer__slug")
    for pk, pool_id, valid, customer in every:
        if pool_id in offers:
            listed = Listed(pk, valid.upper, rates[pk])
            if customer is None:
                offers[pool_id].append(listed)
            else:
                own[customer].append(Own(pool_id, valid.lower, listed))
    return Scene(pools, offers, own)
