"""Why pools that could run something take no work now: nobody hears of them, their owner closed them, or they are in quarantine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Final

from django.utils import timezone

from marketplace.models import Pool
from marketplace.services.availability import windows_of
from scheduler.closings import closings_of
from scheduler.snapshots import online_pools

# Reasons of an explanation, and how they are told of pools; of equally many the first counts.
OFFLINE: Final = "pools_offline"
CLOSED: Final = "pools_closed"
QUARANTINED: Final = "pools_quarantined"
_TOLD: Final = {
    OFFLINE: ("its agent has not been heard of", "their agents have not been heard of"),
    CLOSED: ("it is in maintenance, or wanted back by its owner", "they are in maintenance, or wanted back by their owners"),
    QUARANTINED: ("its results were wrong, it is in quarantine", "their results were wrong, they are in quarantine"),
}


def why_away(pool_ids: Collection[int]) -> tuple[str, str]:
    """(reason, detail) for pools that fit, none of which takes the work now. Four statements."""
    away = _absences(pool_ids)
    reason = max(_TOLD, key=lambda one: len(away[one]))
    count = len(pool_ids)
    parts = [_part(one, away[one], alone=len(away[one]) == count) for one in _TOLD if away[one]]
    return reason, f"{count} pool{'' if count == 1 else 's'} could run it, but " + "; ".join(parts)


def _part(reason: str, ends: list[datetime | None], *, alone: bool) -> str:
    """What is so of these pools, and when the first of them is back, where that is known."""
    count = len(ends)
    told = _TOLD[reason][count > 1]
    known = [end for end in ends if end is not None]
    back = f" until {min(known):%Y-%m-%d %H:%M:%S} UTC" if known else ""
    return (told if alone else f"of {count} {told}") + back


def _absences(pool_ids: Collection[int]) -> dict[str, list[datetime | None]]:
    """The reason of each pool, with the moment at which that ends (None: nobody knows)."""
    pools, now, online = list(Pool.objects.filter(pk__in=pool_ids)), timezone.now(), online_pools()
    closings, windows = closings_of(pools), windows_of([pool.pk for pool in pools])
    away: dict[str, list[datetime | None]] = defaultdict(list)
    for pool in pools:
        if pool.pk not in online:
            away[OFFLINE].append(None)
        elif pool.pk in closings:
            ends = [end for start, end in windows.get(pool.pk, ()) if start <= now]
            away[CLOSED].append(max(ends, default=pool.reclaim_until))
        elif pool.quarantined_until is not None:
            away[QUARANTINED].append(pool.quarantined_until if pool.quarantined_until > now else None)
        else:
            away[OFFLINE].append(None)  # it came back this moment: the next round will see it
    return away
