"""Time zones by the names that IANA gives them."""

from __future__ import annotations

from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from core.errors import Invalid


@cache
def _zones() -> frozenset[str]:
    return frozenset(name for name in available_timezones() if "/" in name or name == "UTC")


def zone_named(name: str) -> ZoneInfo:
    """An IANA time zone. Invalid `zone_unknown`."""
    if name not in _zones():
        raise Invalid("zone_unknown", "an IANA time zone, for example Asia/Shanghai", field="zone")
    return ZoneInfo(name)
