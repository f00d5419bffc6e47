"""Nodes, links and wishes of the network."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from marketplace.models import Region
from marketplace.regions import PROVINCES
from scheduler.models import NetworkLink, NetworkNode
from scheduler.services.network import Wish
from tests.builders import a_region


def the_provinces() -> list[Region]:
    """All 31."""
    return [a_region(one.code) for one in PROVINCES]


def a_node(code: str, *, region: str | None = None, **fields: Any) -> NetworkNode:
    """The node with this code, made when it is not there."""
    place = None if region is None else a_region(region)
    values = {"name": code.title(), "latitude": 30.0, "longitude": 110.0, "region": place, **fields}
    return NetworkNode.objects.get_or_create(code=code, defaults=values)[0]


def a_link(source: str, target: str, *, regions: tuple[str, str] | None = None, **fields: Any) -> NetworkLink:
    """A link of 1 Gbit/s and 2 to 3 ms, measured now."""
    here, there = regions or (None, None)
    values: dict[str, Any] = {"capacity_mbps": 1000, "free_mbps": 1000.0, "latency_p50_s": 0.002, "latency_p90_s": 0.003}
    values |= {"measured_at": timezone.now()} | fields
    return NetworkLink.objects.create(source=a_node(source, region=here), target=a_node(target, region=there), **values)


def a_wish(*links: NetworkLink, mbps: int = 10, kind: str = "deterministic", start_h: float = 0, hours: float = 2) -> Wish:
    """Bandwidth on these links, from `start_h` hours from now on."""
    start = timezone.now() + timedelta(hours=start_h)
    return Wish([link.pk for link in links], start, start + timedelta(hours=hours), mbps=mbps, kind=kind)
