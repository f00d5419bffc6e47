"""What agents claim of the network, judged: clamped to what can be, averaged over time, and agreed between owners.

A provider gains by a network that looks quick, so no claim is believed beyond three bounds: light over the
distance (a packet faster than that was not sent), the bandwidth that the pool declares, and a multiple of the best
transfer that the platform's own clock has seen of the pool. What passes a bound is clamped to it and flagged. Reports are
averaged exponentially per pool; the way between two regions is the median over owners of their pools' medians, so one
owner with many pools counts once, and flagged measurements count only where nobody else measured.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Final

LIGHT_S_PER_KM: Final = 1.468 / 299_792.458  # in glass, index 1.468, and in a straight line: no cable is faster
LEAST_S: Final = 10e-6  # one way, through any two network cards
LONGEST_S: Final = 60.0
SEEN_SLACK: Final = 10.0  # a claim may be so many times the best transfer that was seen
WEIGHT: Final = 0.3  # of the newest report in the average
FASTER_THAN_LIGHT, ABOVE_POOL, ABOVE_TRANSFERS, OVER_BUDGET = (
    "faster_than_light",
    "above_pool_bandwidth",
    "above_seen_transfers",
    "over_budget",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One region in a report: round trips that came back (microseconds) of `tries`, and a bulk transfer."""

    region: str
    rtt_us: tuple[int, ...]
    tries: int
    bytes: int
    transfer_us: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What can be: km between the ends, the pool's Mbit/s, the best transfer seen (None: none yet), bytes allowed."""

    distance_km: float
    pool_mbps: float
    seen_mbps: float | None = None
    budget_bytes: int = 1 << 62


@dataclass(frozen=True, slots=True)
class Sample:
    """One way: seconds, share lost, Mbit/s."""

    latency_p50_s: float
    latency_p90_s: float
    jitter_p99_s: float
    loss: float
    mbps: float
    flags: tuple[str, ...] = ()


def judge(claim: Claim, bounds: Bounds) -> Sample:
    """A claim as far as it can be believed."""
    flags: list[str] = []
    floor_s = max(bounds.distance_km * LIGHT_S_PER_KM, LEAST_S)
    ways = sorted(rtt / 2e6 for rtt in claim.rtt_us)  # half a round trip
    if ways[0] < floor_s:
        flags.append(FASTER_THAN_LIGHT)
    ways = [min(max(way, floor_s), LONGEST_S) for way in ways]
    mbps = claim.bytes * 8 / claim.transfer_us
    for limit, flag in ((bounds.pool_mbps, ABOVE_POOL), (_seen(bounds), ABOVE_TRANSFERS)):
        if mbps > limit:
            flags.append(flag)
            mbps = limit
    if claim.bytes > bounds.budget_bytes:
        flags.append(OVER_BUDGET)
    return Sample(
        latency_p50_s=nearest_rank(ways, 0.5),
        latency_p90_s=nearest_rank(ways, 0.9),
        jitter_p99_s=ways[-1] - ways[0],
        loss=max(0.0, 1 - len(ways) / max(claim.tries, len(ways))),
        mbps=max(mbps, 0.001),
        flags=tuple(flags),
    )


def _seen(bounds: Bounds) -> float:
    return float("inf") if bounds.seen_mbps is None else bounds.seen_mbps * SEEN_SLACK


def nearest_rank(ordered: list[float], quantile: float) -> float:
    """The smallest value that so large a share of the values does not exceed."""
    return ordered[max(0, -(-len(ordered) * round(quantile * 100) // 100) - 1)]


def blend(old: Sample | None, new: Sample) -> Sample:
    """The exponentially weighted average; the flags are the new report's."""
    if old is None:
        return new
    return _each(lambda name: WEIGHT * getattr(new, name) + (1 - WEIGHT) * getattr(old, name), new.flags)


def agreed(measured: Iterable[tuple[str, Sample]]) -> Sample:
    """One sample of many (owner, sample): the median over owners of the median over their pools. At least one is given."""
    found = list(measured)
    unflagged = [pair for pair in found if not pair[1].flags]
    by_owner: dict[str, list[Sample]] = defaultdict(list)
    for owner, sample in unflagged or found:
        by_owner[owner].append(sample)
    return _median([_median(samples) for samples in by_owner.values()])


def _median(samples: list[Sample]) -> Sample:
    return _each(lambda name: statistics.median(getattr(one, name) for one in samples), ())


def _each(value: Callable[[str], float], flags: tuple[str, ...]) -> Sample:
    """A sample made value by value. P90 stays above P50: averages and medians are monotone."""
    names = [one.name for one in fields(Sample) if one.name != "flags"]
    return Sample(**{name: value(name) for name in names}, flags=flags)
