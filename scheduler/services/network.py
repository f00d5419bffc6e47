"""What can happen to the network: a topology is imported, bandwidth is booked and given back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Q
from django.utils import timezone

from core.errors import Conflict, Invalid, NotFound
from core.ids import uuid7
from marketplace.models import Region, User
from scheduler.models import NetworkLink, NetworkNode, Reservation
from scheduler.network.calendar import DETERMINISTIC, Booking, Calendar, earliest, rate_for, transfer_slot
from scheduler.network.gml import FoundNode, Place, Topology
from scheduler.network.graph import distance_km
from scheduler.sql import rows

SERVES_KM: Final = 60.0  # a node this near to a region's place serves it; all others pass traffic on
MAX_LINKS: Final = 100  # of one booking
BATCH: Final = 50_000  # more rows than a topology may have: one statement
_RELEASE: Final = """
UPDATE scheduler_reservation SET released_at = now() WHERE booking = ANY(%s::uuid[]) AND released_at IS NULL RETURNING booking
"""
# A network's nodes, every link at them (operators may have joined it to others), and the links' old bookings.
_REMOVE: Final = """
WITH links AS (
    SELECT l.id FROM scheduler_networklink l JOIN scheduler_networknode n ON n.id IN (l.source_id, l.target_id)
    WHERE n.domain = %(domain)s
), bookings AS (
    DELETE FROM scheduler_reservation WHERE link_id IN (SELECT id FROM links)
), gone AS (
    DELETE FROM scheduler_networklink WHERE id IN (SELECT id FROM links)
)
DELETE FROM scheduler_networknode WHERE domain = %(domain)s RETURNING id
"""
REPAIRS: Final = Path(__file__).parents[1] / "topologies" / "repairs.json"


@dataclass(frozen=True)
class Imported:
    """What an import did: nodes and links made, nodes that were there before, regions served."""

    nodes: int
    links: int
    replaced: int
    regions: tuple[str, ...]


def known_repairs() -> dict[str, dict[str, Place]]:
    """Places that published files have wrong, by network and label."""
    found: dict[str, dict[str, list[float]]] = json.loads(REPAIRS.read_text())
    return {name: {label: (at[0], at[1]) for label, at in places.items()} for name, places in found.items()}


def import_topology(topology: Topology, *, replace: bool = False) -> Imported:
    """Make a topology's nodes and links; `replace` removes what this network had before.

    Refused while the network is there already, or, with `replace`, while bandwidth is booked on its links.
    """
    try:
        with transaction.atomic():
            return _import(topology, replace)
    except IntegrityError:  # a node of another network has one's code or locator, or two imports met
        raise Conflict("topology_exists", f"nodes of {topology.name} are there already, in another network") from None


def _import(topology: Topology, replace: bool) -> Imported:
    if not replace and NetworkNode.objects.filter(domain=topology.name).exists():
        raise Conflict("topology_exists", f"the network {topology.name} is there already; it can be replaced")
    if replace and _booked_on(topology.name):
        raise Conflict("links_reserved", f"bandwidth is booked on links of {topology.name}; release it first")
    replaced = len(rows(_REMOVE, {"domain": topology.name})) if replace else 0
    regions = list(Region.objects.all())
    served = {one.code: _region_at(one, regions) for one in topology.nodes}
    nodes = NetworkNode.objects.bulk_create([_node(topology, one, served) for one in topology.nodes], BATCH)
    by_code = {node.code: node for node in nodes}
    NetworkLink.objects.bulk_create(_links(topology, by_code), BATCH)
    names = tuple(sorted({region.code for region in served.values() if region is not None}))
    return Imported(len(nodes), len(topology.links), replaced, names)


def _booked_on(domain: str) -> bool:
    at_domain = Q(link__source__domain=domain) | Q(link__target__domain=domain)
    return Reservation.objects.filter(at_domain, released_at=None, period__endswith__gt=timezone.now()).exists()


def _region_at(node: FoundNode, regions: Collection[Region]) -> Region | None:
    """The region whose place is nearest, if it is within SERVES_KM."""
    if node.transit_only or not regions:
        return None
    distances = [(distance_km(node.place, (float(one.latitude), float(one.longitude))), one.code, one) for one in regions]
    nearest = min(distances, key=lambda found: found[:2])
    return nearest[2] if nearest[0] <= SERVES_KM else None


def _node(topology: Topology, one: FoundNode, served: Mapping[str, Region | None]) -> NetworkNode:
    latitude, longitude = one.place
    return NetworkNode(
        code=one.code,
        name=one.name[:100],
        region=served[one.code],
        latitude=latitude,
        longitude=longitude,
        locator=one.locator,
        domain=topology.name,
    )


def _links(topology: Topology, nodes: Mapping[str, NetworkNode]) -> list[NetworkLink]:
    now, defaults = timezone.now(), topology.defaults
    return [
        NetworkLink(
            source=nodes[one.source],
            target=nodes[one.target],
            capacity_mbps=one.mbps,
            free_mbps=one.mbps,
            latency_p50_s=one.latency_p50_s,
            latency_p90_s=one.latency_p90_s,
            jitter_p99_s=defaults.jitter_s,
            loss=defaults.loss,
            price_per_gb=defaults.price_per_gb,
            carbon_g_per_gb=defaults.carbon_g_per_gb,
            domain=topology.name,
            sid=one.sid,
            origin=NetworkLink.Origin.IMPORTED,
            measured_at=now,
        )
        for one in topology.links
    ]


@dataclass(frozen=True)
class Wish:
    """Bandwidth wanted on every one of these links, in one of three ways:

    mbps, start, end         exactly then
    mbps, start, seconds     for so long, as early as possible from `start` on
    bytes, start, end        whatever rate brings so many bytes over between the two, arriving as early as possible
    """

    links: Sequence[int]
    start: datetime
    end: datetime | None = None
    mbps: int | None = None
    kind: str = DETERMINISTIC
    seconds: float | None = None
    bytes: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Booked:
    """What was booked, under which number."""

    number: UUID
    links: tuple[int, ...]
    start: datetime
    end: datetime
    mbps: int
    kind: str
    note: str = ""


@transaction.atomic
def reserve(wish: Wish, by: User | None = None) -> Booked:
    """Book it on all links or on none. The links' row locks make bookings of a link one after the other."""
    _check(wish)
    booking = _booking(wish, calendars_of(wish.links, lock=True))
    start, end = (datetime.fromtimestamp(at, UTC) for at in (booking.start, booking.end))
    booked = Booked(uuid7(), tuple(wish.links), start, end, booking.mbps, wish.kind, wish.note)
    fields = {"booking": booked.number, "period": DateTimeTZRange(start, end), "mbps": booking.mbps}
    fields |= {"kind": wish.kind, "note": wish.note, "created_by": by}
    Reservation.objects.bulk_create([Reservation(link_id=link, **fields) for link in wish.links])
    return booked


def _check(wish: Wish) -> None:
    if not wish.links or len(wish.links) > MAX_LINKS or len(set(wish.links)) != len(wish.links):
        raise Invalid("invalid_links", f"1 to {MAX_LINKS} different links", field="links")
    given = tuple(one is not None for one in (wish.mbps, wish.bytes, wish.seconds, wish.end))
    if given not in ((True, False, False, True), (True, False, True, False), (False, True, False, True)):
        raise Invalid("invalid_period", "mbps and end, mbps and seconds, or bytes and end", field="mbps")
    if wish.end is not None and not wish.start < wish.end:
        raise Invalid("invalid_period", "the end is after the start", field="end")
    if (wish.end or wish.start + timedelta(seconds=wish.seconds or 0)) <= timezone.now():
        raise Invalid("invalid_period", "the period is over", field="end")


def _booking(wish: Wish, calendars: Mapping[int, Calendar]) -> Booking:
    """The booking that satisfies the wish, or Conflict `link_booked_out`."""
    all_of = list(calendars.values())
    start = max(wish.start, timezone.now()).timestamp()  # what may wait begins no earlier than now
    if wish.bytes is not None and wish.end is not None:
        slot = transfer_slot(all_of, wish.bytes, start, wish.end.timestamp(), kind=wish.kind)
        if slot is None:
            rate = rate_for(wish.bytes, start, wish.end.timestamp())
            raise Conflict("link_booked_out", f"the links have no {rate} Mbit/s left to bring this over in time")
        return Booking(slot.start, slot.end, slot.mbps, wish.kind)
    mbps = wish.mbps or 0
    if wish.seconds is not None:
        begin = earliest(all_of, mbps, wish.seconds, start, wish.kind)
        if begin is None:
            raise Conflict("link_booked_out", f"the links never have {mbps} Mbit/s for that long")
        return Booking(begin, begin + wish.seconds, mbps, wish.kind)
    booking = Booking(wish.start.timestamp(), (wish.end or wish.start).timestamp(), mbps, wish.kind)
    for link_id, calendar in calendars.items():
        if not calendar.admits(booking):
            free = calendar.free(booking.start, booking.end, wish.kind)
            raise Conflict("link_booked_out", f"link {link_id} has {free} Mbit/s left then", link=link_id, free_mbps=free)
    return booking


def calendars_of(link_ids: Collection[int], *, lock: bool = False) -> dict[int, Calendar]:
    """The calendars of these links, in two statements; NotFound if one of them is not there."""
    found = NetworkLink.objects.filter(pk__in=link_ids, overlay=False).order_by("pk")
    capacity = dict((found.select_for_update() if lock else found).values_list("pk", "capacity_mbps"))
    missing = sorted(set(link_ids) - capacity.keys())
    if missing:
        raise NotFound("link_unknown", f"there is no link {missing[0]} that can be booked", field="links")
    live = Reservation.objects.filter(link_id__in=link_ids, released_at=None, period__endswith__gt=timezone.now())
    bookings: dict[int, list[Booking]] = {pk: [] for pk in capacity}
    for link_id, period, mbps, kind in live.values_list("link_id", "period", "mbps", "kind"):
        bookings[link_id].append(Booking(period.lower.timestamp(), period.upper.timestamp(), mbps, kind))
    return {pk: Calendar(capacity[pk], tuple(bookings[pk])) for pk in capacity}


def release(bookings: Collection[UUID]) -> int:
    """Give booked bandwidth back. Returns how many bookings that ended; what was released before stays so."""
    return len(set(rows(_RELEASE, [list(bookings)])))
