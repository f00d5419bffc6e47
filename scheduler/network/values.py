"""Values that the network hands to the planner."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """The way chosen between two regions, as the planner counts it.

    latency_s        one way, seconds, at P90 (already widened if the measurement is old)
    mbps             megabits per second that are free along the whole way
    price_per_gb     in the market's currency, for every decimal gigabyte moved
    carbon_g_per_gb  grams of CO2 for every decimal gigabyte moved
    jitter_class     the worst on the way: 0 (deterministic) to 3 (best effort)
    links            ids of the links in their order; () inside a region
    """

    latency_s: float
    mbps: float
    price_per_gb: float = 0.0
    carbon_g_per_gb: float = 0.0
    jitter_class: int = 3
    links: tuple[int, ...] = ()
