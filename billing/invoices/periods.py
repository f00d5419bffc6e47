"""Months of a zone. Pure: the only place where a billing month's bounds are computed."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def month_of(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """[from, to) of the calendar month in a zone that holds a moment: both are midnights there, as moments.

    >>> from datetime import UTC
    >>> month_of(datetime(2026, 3, 31, 16, tzinfo=UTC), ZoneInfo("Asia/Shanghai"))[0].isoformat()
    '2026-04-01T00:00:00+08:00'
    """
    local = moment.astimezone(zone)
    start = datetime(local.year, local.month, 1, tzinfo=zone)
    return start, datetime(local.year + local.month // 12, local.month % 12 + 1, 1, tzinfo=zone)
