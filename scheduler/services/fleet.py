"""How many agents are there, by class of pool: counted now and then by the doors, known to everybody in between."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings

from marketplace.models import Pool
from scheduler.lease_times import PoolClass, lease_seconds, renew_seconds, stretch_of
from scheduler.sql import rows

COUNTED_FOR_S: Final = 10.0
_FLEET: Final = """
SELECT p.kind, p.tier, count(*) FROM marketplace_agent g JOIN marketplace_pool p ON p.id = g.pool_id
WHERE g.retired_at IS NULL AND g.lease_until > now() GROUP BY p.kind, p.tier
"""


@dataclass
class Fleet:
    """What this process knows of the fleet. A number that is some seconds old moves leases by a hair."""

    counts: dict[PoolClass, int] = field(default_factory=dict)
    counted_at: float = float("-inf")

    def refresh(self) -> None:
        """Count again, unless that was done lately."""
        now = time.monotonic()
        if now - self.counted_at >= COUNTED_FOR_S:
            self.counted_at = now
            self.counts = {(kind, tier): number for kind, tier, number in rows(_FLEET)}

    def lease_s(self, pool: Pool) -> int:
        """Seconds that a lease of this pool lives now."""
        base, most = settings.LEASE_SECONDS, settings.HEARTBEATS_PER_SECOND
        stretch = stretch_of(self.counts, base_s=base, most_per_s=most)
        return lease_seconds(pool.kind, pool.tier, base_s=base, stretch=stretch)

    def times(self, pool: Pool) -> dict[str, float]:
        """`lease_s` and `renew_s` of a sync's answer."""
        lease_s = self.lease_s(pool)
        agents = sum(self.counts.values())
        return {"lease_s": lease_s, "renew_s": renew_seconds(agents, lease_s, most_per_s=settings.HEARTBEATS_PER_SECOND)}


fleet: Final = Fleet()
