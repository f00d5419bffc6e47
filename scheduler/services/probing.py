"""Agents' probes: which regions they are asked to measure, and what becomes of their answers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core.errors import Invalid
from marketplace.models import Agent, Region
from scheduler.models import NetworkNode, Probe, RegionEndpoint
from scheduler.network.graph import distance_km
from scheduler.network.probes import Bounds, Claim, Sample, agreed, blend, judge
from scheduler.sql import rows

PER_ROUND: Final = 8  # endpoints that one agent measures in one interval
MAX_CLAIMS: Final = 32
BELIEVED: Final = timedelta(days=1)  # an older measurement of one pool no longer counts for the way of its region
RADIUS_KM: Final = 150.0  # machines of a region need not stand at its place: each end may be so much nearer
PATH: Final = "/agent/v1/probe"
VALUES: Final = ("latency_p50_s", "latency_p90_s", "jitter_p99_s", "loss", "mbps")

# The best of the pool's latest transfers of at least 10 MB by the server's own clock (a lease until the program was heard
# to run, so preparing counts too), if there were three. Bounded: the market's last 5,000 attempts are looked at.
_SEEN: Final = """
SELECT CASE WHEN count(*) >= 3 THEN max(moved * 8 / 1e6 / seconds) END FROM (
    SELECT (usage->>'bytes_in')::numeric AS moved, extract(epoch FROM started_at - leased_at) AS seconds
    FROM (SELECT * FROM scheduler_attempt ORDER BY id DESC LIMIT 5000) latest
    WHERE pool_id = %s AND started_at > leased_at AND jsonb_typeof(usage->'bytes_in') = 'number'
) transfers WHERE moved >= 1e7
"""

_WAYS: Final = """
INSERT INTO scheduler_networklink (source_id, target_id, capacity_mbps, free_mbps, latency_p50_s, latency_p90_s, jitter_p99_s,
    loss, price_per_gb, carbon_g_per_gb, domain, sid, overlay, origin, measured_at, updated_at)
SELECT source, target, capacity, mbps, p50, p90, jitter, loss, 0, 0, 'probed', '', true, 'probe', %(now)s, %(now)s
FROM unnest(%(source)s::bigint[], %(target)s::bigint[], %(capacity)s::int[], %(mbps)s::float[], %(latency_p50_s)s::float[],
    %(latency_p90_s)s::float[], %(jitter_p99_s)s::float[], %(loss)s::float[])
    AS way(source, target, capacity, mbps, p50, p90, jitter, loss)
ON CONFLICT (source_id, target_id) WHERE overlay DO UPDATE SET
    capacity_mbps = excluded.capacity_mbps, free_mbps = excluded.free_mbps, latency_p50_s = excluded.latency_p50_s,
    latency_p90_s = excluded.latency_p90_s, jitter_p99_s = excluded.jitter_p99_s, loss = excluded.loss,
    origin = excluded.origin, measured_at = excluded.measured_at, updated_at = excluded.updated_at
"""


def probe_orders(agent: Agent) -> dict[str, Any]:
    """What the agent is asked to measure: at most PER_ROUND endpoints, in turns, within the byte budget."""
    places = endpoints()
    turn = int(timezone.now().timestamp() // settings.PROBE_INTERVAL_S) + agent.pool_id
    first = turn * PER_ROUND % max(len(places), 1)
    chosen = (places[first:] + places[:first])[:PER_ROUND]
    return {"interval_s": settings.PROBE_INTERVAL_S, "bytes": settings.PROBE_BYTES, "endpoints": chosen}


def endpoints() -> list[dict[str, Any]]:
    """What operators filled in, else the platform's own door, if it is said in which region that stands."""
    found = RegionEndpoint.objects.filter(enabled=True).order_by("region__code").values_list("region__code", "url")
    given = [{"region": code, "url": url} for code, url in found]
    own = settings.REGION
    if own and own not in {one["region"] for one in given}:
        given.append({"region": own, "url": PATH})  # the agent knows by which address it reaches the platform
    return given


def parse_claims(value: Any) -> list[Claim]:
    """The `probes` of a sync; whole numbers only. Raises Invalid that names the place."""
    if not isinstance(value, list) or len(value) > MAX_CLAIMS:
        raise Invalid("invalid_probes", f"a list of at most {MAX_CLAIMS} measurements", field="probes")
    return [_claim(one, f"probes.{i}") for i, one in enumerate(value)]


def _claim(value: Any, at: str) -> Claim:
    if not isinstance(value, dict) or not isinstance(value.get("region"), str):
        raise Invalid("invalid_probes", "{region, rtt_us, tries, bytes, transfer_us}", field=at)
    trips = value.get("rtt_us")
    if not isinstance(trips, list) or not 1 <= len(trips) <= 100 or not all(_count(one) for one in trips):
        raise Invalid("invalid_probes", "rtt_us are 1 to 100 microseconds, whole and positive", field=f"{at}.rtt_us")
    for name in ("tries", "bytes", "transfer_us"):
        if not _count(value.get(name)):
            raise Invalid("invalid_probes", "a whole number above 0", field=f"{at}.{name}")
    return Claim(value["region"][:32], tuple(trips), value["tries"], value["bytes"], value["transfer_us"])


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53


@transaction.atomic
def adopt_probes(agent: Agent, claims: Sequence[Claim]) -> list[Sample]:
    """Judge and keep what an agent measured, and bring the ways of its region up to date. Constant in statements.

    Regions nobody asked about are left out, and so is what comes sooner than half the interval after the last report.
    """
    asked = {one["region"] for one in endpoints()}
    regions = {one.code: one for one in Region.objects.filter(code__in=asked & {claim.region for claim in claims})}
    if not regions:
        return []
    old = {probe.region_id: probe for probe in Probe.objects.select_for_update().filter(pool=agent.pool_id)}
    now = timezone.now()
    by_region = {c.region: c for c in claims if c.region in regions and _is_due(old.get(regions[c.region].pk), now)}
    seen = rows(_SEEN, [agent.pool_id])[0][0] if by_region else None
    samples = {code: judge(c, _bounds(agent, regions[code], seen)) for code, c in by_region.items()}
    _keep(agent, {regions[code]: sample for code, sample in samples.items()}, old, now)
    _refresh_ways(agent.pool.region, [regions[code] for code in samples], now)
    return list(samples.values())


def _is_due(old: Probe | None, now: datetime) -> bool:
    return old is None or (now - old.measured_at).total_seconds() >= settings.PROBE_INTERVAL_S / 2


def _bounds(agent: Agent, region: Region, seen: Any) -> Bounds:
    here, there = ((float(one.latitude), float(one.longitude)) for one in (agent.pool.region, region))
    km = 0.0 if region.pk == agent.pool.region_id else max(0.0, distance_km(here, there) - 2 * RADIUS_KM)
    return Bounds(km, agent.pool.bandwidth_mbps, None if seen is None else float(seen), settings.PROBE_BYTES)


def _keep(agent: Agent, samples: Mapping[Region, Sample], old: Mapping[int, Probe], now: datetime) -> None:
    kept = []
    for region, sample in samples.items():
        before = old.get(region.pk)
        blended = blend(None if before is None else sample_of(before), sample)
        counts = (before.samples, before.flagged) if before else (0, 0)
        kept.append(
            Probe(
                pool_id=agent.pool_id,
                region=region,
                **{name: getattr(blended, name) for name in VALUES},
                samples=counts[0] + 1,
                flags=list(sample.flags),
                flagged=counts[1] + bool(sample.flags),
                measured_at=now,
            )
        )
    Probe.objects.bulk_create(
        kept,
        update_conflicts=True,
        unique_fields=["pool", "region"],
        update_fields=[*VALUES, "samples", "flags", "flagged", "measured_at"],
    )


def sample_of(probe: Probe) -> Sample:
    """A row as a value."""
    return Sample(**{name: getattr(probe, name) for name in VALUES}, flags=tuple(probe.flags))


def _refresh_ways(source: Region, targets: Sequence[Region], now: datetime) -> None:
    """What the pools of a region agree on becomes the link between the two regions' own nodes."""
    targets = [one for one in targets if one.pk != source.pk]
    if not targets:
        return
    fresh = Probe.objects.filter(pool__region=source, region__in=targets, measured_at__gt=now - BELIEVED)
    by_target: dict[int, list[tuple[str, Sample]]] = defaultdict(list)
    for probe in fresh.select_related("pool__organization"):
        by_target[probe.region_id].append((probe.pool.organization.slug, sample_of(probe)))
    nodes = _own_nodes([source, *targets])
    ways = [(nodes[source.pk], nodes[pk], agreed(found)) for pk, found in sorted(by_target.items())]
    rows(_WAYS, _columns(ways, now))


def _own_nodes(regions: Sequence[Region]) -> dict[int, NetworkNode]:
    """The regions' own ends of probed ways, made when they are not there."""
    codes = {f"region-{one.code}": one for one in regions}
    new = [
        NetworkNode(code=code, name=one.name, region=one, latitude=float(one.latitude), longitude=float(one.longitude))
        for code, one in sorted(codes.items())
    ]
    NetworkNode.objects.bulk_create(new, ignore_conflicts=True)
    return {codes[node.code].pk: node for node in NetworkNode.objects.filter(code__in=codes)}


def _columns(ways: Sequence[tuple[NetworkNode, NetworkNode, Sample]], now: datetime) -> dict[str, Any]:
    columns: dict[str, Any] = {name: [getattr(sample, name) for _, _, sample in ways] for name in VALUES}
    columns |= {"source": [source.pk for source, _, _ in ways], "target": [target.pk for _, target, _ in ways]}
    return columns | {"capacity": [max(1, math.ceil(sample.mbps)) for _, _, sample in ways], "now": now}
