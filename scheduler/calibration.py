"""How far predictions can be trusted: what was promised of the last tasks held against what came. Pure.

    within P50, P90   the share of tasks that started, or were delivered, no later than promised
    factor            the k-th smallest of actual / P90, k = ceil((n + 1) x 0.9)

Promises are P90; multiplied by the factor, they would have held for nine of ten of the last tasks. As long as the next task is
like the last ones (exchangeable), the P90 that is shown, P90 x factor, holds with probability 0.9 or more, whatever is wrong with
the model: split conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., 2018,
theorem 2.2). Fewer than MIN tasks prove nothing: then the factor is 1, and the record says how few they are.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

LEVEL: Final = 0.9
MIN: Final = 9  # with fewer, the k-th smallest would lie beyond the last
LEAST: Final = 0.05  # seconds; a promise below is held as if it were this long, so that milliseconds of polling are no failure
EDGES: Final = (0.5, 0.8, 1.25, 2.0, 4.0)  # actual / expected
BOUNDS: Final = (0.1, 20.0)  # of the factor: beyond, it is no correction any more


@dataclass(frozen=True, slots=True)
class Held:
    """One promise and what came of it, in seconds from the submit."""

    p50_s: float
    p90_s: float
    actual_s: float


@dataclass(frozen=True, slots=True)
class Record:
    """The record of `n` promises. Shares are None where there is none."""

    n: int
    within_p50: float | None
    within_p90: float | None
    factor: float

    def shown(self, p50_s: float, p90_s: float) -> float:
        """The P90 that is shown: corrected by the record, and never before what is expected."""
        return max(p90_s * self.factor, p50_s)


def record_of(held: Iterable[Held]) -> Record:
    """The record of these promises. Ones with a negative time (a clock was set back) or without an end are left out."""
    listed = [one for one in held if _is_sound(one)]
    if not listed:
        return Record(0, None, None, 1.0)
    within_p50 = sum(one.actual_s <= max(one.p50_s, LEAST) for one in listed) / len(listed)
    within_p90 = sum(one.actual_s <= max(one.p90_s, LEAST) for one in listed) / len(listed)
    return Record(len(listed), round(within_p50, 4), round(within_p90, 4), _factor(listed))


def spread_of(held: Iterable[Held]) -> list[int]:
    """How far off they were: how many came after so many times what was expected, between EDGES and beyond both ends."""
    counts = [0] * (len(EDGES) + 1)
    for one in held:
        if _is_sound(one):
            counts[bisect_left(EDGES, max(one.actual_s, LEAST) / max(one.p50_s, LEAST))] += 1
    return counts


def _is_sound(one: Held) -> bool:
    return all(math.isfinite(value) and value >= 0 for value in (one.p50_s, one.p90_s, one.actual_s))


def _factor(held: Sequence[Held]) -> float:
    if len(held) < MIN:
        return 1.0
    ratios = sorted(max(one.actual_s, LEAST) / max(one.p90_s, LEAST) for one in held)
    place = min(math.ceil((len(held) + 1) * LEVEL), len(held))
    return round(min(max(ratios[place - 1], BOUNDS[0]), BOUNDS[1]), 4)
