"""How long a unit takes, learned from finished attempts: a line `seconds = start + slope x TFLOP`. Pure.

A unit costs its start (an interpreter, a file to unpack) and its work, so seconds per TFLOP alone would be wrong by
orders of magnitude between a test case and a real task. What finished attempts of a capability version, stage and
pool took is kept as sums (`Pace`), from which the line follows by least squares, drawn towards the slope that the
manifest's FP32 model and the pool's measured speed predict: with one size seen, that prediction decides alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PULL: Final = 0.05  # weight of the predicted slope: as of spread-out samples of this variance, in squared mean TFLOP
NO_WORK: Final = 1e-9  # TFLOP; below a GFLOP's millionth the model says nothing


class Fit(NamedTuple):
    """Sums over finished attempts, older ones counting less: `samples`, TFLOP, seconds, TFLOP², TFLOP x seconds."""

    samples: float
    tflop: float
    seconds: float
    tflop_squared: float
    product: float

    def plus(self, other: Fit) -> Fit:
        """The fit of both samples together."""
        return Fit(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def at(self, tflop: float, slope: float) -> float:
        """Expected seconds of a unit of `tflop`, given the predicted `slope` (seconds per TFLOP).

        Neither start nor slope is ever negative: the slope stays between 0 and what the mean unit took as a whole.
        """
        mean_tflop, mean_seconds = self.tflop / self.samples, self.seconds / self.samples
        if mean_tflop < NO_WORK:
            return mean_seconds
        spread = max(self.tflop_squared / self.samples - mean_tflop**2, 0.0)
        together = self.product / self.samples - mean_tflop * mean_seconds
        pull = PULL * mean_tflop**2
        fitted = (together + pull * slope) / (spread + pull)
        return mean_seconds + min(max(fitted, 0.0), mean_seconds / mean_tflop) * (tflop - mean_tflop)

    def at_all(self, tflop: float, slopes: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same for many predicted slopes at once (pools of different speed)."""
        lowest, steepest = self.at(tflop, 0.0), self.at(tflop, math.inf)
        mean_tflop, mean_seconds = self.tflop / self.samples, self.seconds / self.samples
        if mean_tflop < NO_WORK or lowest == steepest:
            return np.full(len(slopes), lowest)
        spread = max(self.tflop_squared / self.samples - mean_tflop**2, 0.0)
        together = self.product / self.samples - mean_tflop * mean_seconds
        pull = PULL * mean_tflop**2
        fitted = np.clip((together + pull * slopes) / (spread + pull), 0.0, mean_seconds / mean_tflop)
        return mean_seconds + fitted * (tflop - mean_tflop)

    def unsure(self) -> float:
        """P90 over the expected time on a pool where units were seen: 1.5 after one, nearing 1.2 with many."""
        return 1.2 + 0.3 / max(self.samples, 1.0)


Key = tuple[int, int, int]  # capability version, stage, pool
ANYWHERE: Final = 0  # stands for the pool of a fit over all pools


def with_anywhere(fits: Mapping[Key, Fit]) -> dict[Key, Fit]:
    """The fits, and for each version and stage one over all pools: the best guess for a pool that is new to it."""
    everything = dict(fits)
    for (version, stage, _), fit in sorted(fits.items()):
        key = (version, stage, ANYWHERE)
        everything[key] = everything[key].plus(fit) if key in everything else fit
    return everything


def of_samples(samples: Iterable[tuple[float, float]]) -> Fit:
    """The fit of (TFLOP, seconds) pairs. What the settling statement does in SQL.

    >>> of_samples([(1, 3), (2, 5)]).at(10, slope=2)
    21.0
    """
    total = Fit(0, 0, 0, 0, 0)
    for tflop, seconds in samples:
        total = total.plus(Fit(1, tflop, seconds, tflop**2, tflop * seconds))
    return total
