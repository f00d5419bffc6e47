"""Windows of time as people name them: days of a zone, half-open. Pure. The only place where usage meets local time."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.errors import Invalid
from core.zones import zone_named

__all__ = ["moment_in", "month_of", "slots_of", "zone_named"]


def moment_in(text: str, zone: ZoneInfo, field: str) -> datetime:
    """A day (its beginning in the zone), or a moment with or without an offset (then by the zone's clock).

    A midnight that the clocks leap over is the moment of the leap. Invalid `invalid_parameter`.
    """
    try:
        if len(text) == 10:
            moment = datetime.combine(date.fromisoformat(text), time.min, zone)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=zone)
        if 1970 <= moment.year <= 9000:
            return moment
    except ValueError:
        pass
    raise Invalid("invalid_parameter", "a day (2026-03-01) or a moment (2026-03-01T08:00:00Z)", field=field)


def month_of(moment: datetime, zone: ZoneInfo) -> datetime:
    """The beginning of the local month in which a moment lies."""
    return moment.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)


def slots_of(day: date, zone: ZoneInfo) -> int:
    """Five-minute slots of a local day: 288, or as many as its real length has.

    >>> slots_of(date(2026, 3, 29), ZoneInfo("Europe/Berlin")), slots_of(date(2026, 10, 25), ZoneInfo("Europe/Berlin"))
    (276, 300)
    """
    begins, ends = (datetime.combine(one, time.min, zone).timestamp() for one in (day, day + timedelta(days=1)))
    return -(-round(ends - begins) // 300)
