"""How long a lease lives without a sync, and how often agents call. Pure: the fleet's size in, seconds out.

A lease is as long as its machines are slow to come back: servers in a data centre answer within seconds or are gone,
an edge site's or a private machine's line drops for minutes, a supercomputer's login node is taken away for updates
while its jobs go on. An agent renews three times within a lease, so two calls may be lost.

Calls are bounded: `n` agents with leases of `t` seconds make `3 n / t` of them a second; beyond `most_per_s` every lease
grows by the same factor (as Nomad stretches heartbeats with its fleet), so a fleet ten times as large makes no more calls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

RENEWALS: Final = 3
# In multiples of the shortest lease (GRIDFARE_LEASE_SECONDS, 60 s): 60 s, 180 s, 300 s.
BY_KIND: Final = {"super": 5, "community": 3}
BY_TIER: Final = {"cloud": 1, "edge": 3, "end": 3}
SOONEST_S: Final = 1.0  # how long a small fleet's busy agent stays away: a wish to cancel reaches it within a second

PoolClass = tuple[str, str]  # kind, tier


def lease_seconds(kind: str, tier: str, *, base_s: int, stretch: float = 1.0) -> int:
    """Seconds a lease of such a pool lives after the sync that named it.

    >>> [lease_seconds(*one, base_s=60) for one in (("general", "cloud"), ("general", "edge"), ("super", "cloud"))]
    [60, 180, 300]
    """
    return math.ceil(base_s * max(BY_KIND.get(kind, 1), BY_TIER.get(tier, 1)) * max(stretch, 1.0))


def stretch_of(fleet: Mapping[PoolClass, int], *, base_s: int, most_per_s: float) -> float:
    """The factor by which leases grow so that this fleet renews `most_per_s` times a second at most. At least 1.

    >>> stretch_of({("general", "cloud"): 40_000}, base_s=60, most_per_s=500)
    4.0
    """
    calls = sum(n * RENEWALS / lease_seconds(kind, tier, base_s=base_s) for (kind, tier), n in fleet.items())
    return max(1.0, calls / most_per_s)


def renew_seconds(agents: int, lease_s: float, *, most_per_s: float) -> float:
    """How long a busy agent with nothing to say stays away: a second in a small fleet, a third of its lease at most.

    >>> [renew_seconds(n, 60, most_per_s=500) for n in (10, 2_000, 50_000)]
    [1.0, 4.0, 20.0]
    """
    return min(max(SOONEST_S, agents / most_per_s), lease_s / RENEWALS)
