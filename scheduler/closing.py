"""When a pool stops taking work, and when its machines are gone: from maintenance windows and reclaims. Pure.

A planned window lets work in that ends before it, until its notice begins. A reclaim closes the pool at once: its owner is
waiting. What runs then is told, writes its checkpoint, and ends with the reason `reclaimed` when the machine goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

# A pool that takes no work now, for statements over `p` (marketplace_pool) with `notice` in seconds: `Closing.closed` in SQL.
CLOSED_NOW: Final = """(
    p.reclaim_at IS NOT NULL AND (p.reclaim_until IS NULL OR p.reclaim_until > now())
    OR EXISTS (SELECT 1 FROM marketplace_maintenancewindow w WHERE w.pool_id = p.id
               AND upper(w.period) > now() AND lower(w.period) <= now() + %(notice)s * interval '1 second'))"""


@dataclass(frozen=True, slots=True)
class Closing:
    """Seconds from now; None = not in sight.

    closes_in_s  work that would end later is not placed; 0: nothing is
    back_in_s    the machine goes back to its owner, and this is the notice of it
    """

    closes_in_s: float | None = None
    back_in_s: float | None = None

    @property
    def closed(self) -> bool:
        return self.closes_in_s == 0


def closing_of(
    now: datetime,
    *,
    reclaim_at: datetime | None = None,
    reclaim_until: datetime | None = None,
    windows: Iterable[tuple[datetime, datetime]] = (),
    notice_s: float,
) -> Closing:
    """What a reclaim and the windows [start, end) of a pool mean at this moment."""
    starts = [start for start, end in windows if end > now]
    ahead = [max((start - now).total_seconds(), 0.0) for start in starts]
    back = [seconds for seconds in ahead if seconds <= notice_s]
    if reclaim_at is not None and (reclaim_until is None or reclaim_until > now):
        back.append(max((reclaim_at - now).total_seconds(), 0.0))
    return Closing(0.0, min(back)) if back else Closing(min(ahead, default=None))
