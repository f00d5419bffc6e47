"""How long a unit takes, learned from finished attempts: a line `seconds = start + slope x TFLOP`, and its spread. Pure.

A unit costs its start (an interpreter, a file to unpack) and its work, so seconds per TFLOP alone would be wrong by
orders of magnitude between a test case and a real task. What finished attempts of a capability version, stage, variant and
pool took is kept as sums (`Pace`), from which the line follows by least squares, drawn towards the slope that the
manifest's FP32 model and the pool's measured speed predict: with one size seen, that prediction decides alone.

    expected  Y = mean seconds + slope x (TFLOP - mean TFLOP)
    beyond    REACH x (mean TFLOP + two deviations) nobody has been: there every further TFLOP takes at least what is predicted
    spread    s2 = (PRIOR x (PRIOR_CV x mean seconds)2 + squares left over around the line) / (PRIOR + samples - 1)
    next one  v = s2 x (1 + 1/samples + (TFLOP - mean TFLOP)2 / (squares of TFLOP around the mean + what pulls))
    P90       Y x exp(t x d - d2 / 2)   with   d2 = ln(1 + v / Y2),  t = Student's 0.9 quantile for PRIOR + samples - 1

The variance of a single new observation around a fitted line is the textbook's (Draper and Smith, Applied Regression
Analysis, 1.4); run times are positive and lean to the right, so that P90 is that of the log-normal with this mean and variance.
`PRIOR` samples of an assumed deviation stand for what nobody has measured yet: P90 is far from the mean after one sample, and
comes down to it where many samples show no spread.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PULL: Final = 0.05  # weight of the predicted slope: as of spread-out samples of this variance, in squared mean TFLOP
NO_WORK: Final = 1e-9  # TFLOP; below a GFLOP's millionth the model says nothing
REACH: Final = 2.0  # a line is believed up to so many times the largest units that were seen
PRIOR: Final = 2.0  # samples that the assumed deviation counts for
PRIOR_CV: Final = 0.2  # assumed deviation of run times on one pool, over their mean
Z90: Final = 1.2815515655446004  # the normal's 0.9 quantile


class Fit(NamedTuple):
    """Sums over finished attempts, older ones counting less: `samples`, TFLOP, seconds, TFLOP², TFLOP x seconds, seconds².

    A fit whose squares of seconds are 0 was stored before they were kept: nothing is known of its spread.
    """

    samples: float
    tflop: float
    seconds: float
    tflop_squared: float
    product: float
    seconds_squared: float = 0.0

    def plus(self, other: Fit) -> Fit:
        """The fit of both samples together."""
        return Fit(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def at(self, tflop: float, slope: float) -> float:
        """Expected seconds of a unit of `tflop`, given the predicted `slope` (seconds per TFLOP).

        Neither start nor slope is ever negative: the slope stays between 0 and what the mean unit took as a whole, and
        beyond what was seen it is at least the predicted one.
        """
        return float(expected_and_p90(Fits.of([self]), tflop, np.array([slope]))[0][0])

    def at_all(self, tflop: float, slopes: Floats) -> Floats:
        """The same for many predicted slopes at once (pools of different speed)."""
        return expected_and_p90(Fits.same(self, len(slopes)), tflop, slopes)[0]

    def p90(self, tflop: float, slope: float) -> float:
        """Seconds that nine of ten units of `tflop` do not exceed; never less than expected."""
        return float(expected_and_p90(Fits.of([self]), tflop, np.array([slope]))[1][0])


class Fits(NamedTuple):
    """Many fits as columns, row by row."""

    samples: Floats
    tflop: Floats
    seconds: Floats
    tflop_squared: Floats
    product: Floats
    seconds_squared: Floats

    @classmethod
    def of(cls, fits: Sequence[Fit]) -> Fits:
        """The columns of these fits, in their order."""
        table = np.array([tuple(fit) for fit in fits], dtype=np.float64).reshape(len(fits), len(cls._fields))
        return cls(*table.T)

    @classmethod
    def same(cls, fit: Fit, size: int) -> Fits:
        """One fit in every row."""
        return cls(*(np.broadcast_to(np.float64(value), (size,)) for value in fit))


def expected_and_p90(fits: Fits, tflop: float, slopes: Floats) -> tuple[Floats, Floats]:
    """For each fit and its predicted slope: expected seconds of a unit of `tflop`, and those that nine of ten do not exceed."""
    n, mean_tflop, mean_seconds = fits.samples, fits.tflop / fits.samples, fits.seconds / fits.samples
    works = mean_tflop >= NO_WORK
    divisor = np.where(works, mean_tflop, 1.0)
    spread = np.maximum(fits.tflop_squared / n - mean_tflop**2, 0.0)
    together = fits.product / n - mean_tflop * mean_seconds
    pull = np.where(works, PULL * mean_tflop**2, 1.0)
    fitted = np.clip((together + pull * slopes) / (spread + pull), 0.0, mean_seconds / divisor)
    slope = np.where(works, fitted, 0.0)
    away = np.where(works | (tflop >= NO_WORK), tflop - mean_tflop, 0.0)
    beyond = np.maximum(away - (REACH * (mean_tflop + 2 * np.sqrt(spread)) - mean_tflop), 0.0)
    expected: Floats = np.maximum(mean_seconds + slope * (away - beyond) + np.maximum(slope, slopes) * beyond, 0.0)

    scatter = np.maximum(fits.seconds_squared / n - mean_seconds**2, 0.0)
    left_over = np.maximum(scatter - 2 * slope * together + slope**2 * spread, 0.0) * n
    freedom = PRIOR + np.maximum(n - 1, 0.0)
    variance = (PRIOR * (PRIOR_CV * mean_seconds) ** 2 + left_over) / freedom
    variance *= 1 + 1 / n + np.where(works, away**2 / (n * (spread + pull)), 0.0)
    return expected, expected * over_expected(variance, expected, freedom)


def over_expected(variance: Floats, expected: Floats, freedom: Floats) -> Floats:
    """P90 over the mean of a log-normal with this mean and variance. It stops growing where more spread would lower it again."""
    known = expected > 0
    relative = np.divide(variance, expected**2, out=np.zeros(len(expected)), where=known)
    t = student_90(freedom)
    deviation = np.minimum(np.sqrt(np.log1p(np.minimum(relative, 1e12))), t)
    ratio: Floats = np.exp(t * deviation - deviation**2 / 2)
    return ratio


def student_90(freedom: Floats) -> Floats:
    """Student's 0.9 quantile, within 0.003 from 2 degrees of freedom on (Abramowitz and Stegun, 26.7.5)."""
    z = Z90
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    quantile: Floats = z + terms[0] / freedom + terms[1] / freedom**2 + terms[2] / freedom**3
    return quantile


Key = tuple[int, int, int, int]  # capability version, stage, variant, pool
ANYWHERE: Final = 0  # stands for the pool of a fit over all pools


def with_anywhere(fits: Mapping[Key, Fit]) -> dict[Key, Fit]:
    """The fits, and for each version, stage and variant one over all pools: the best guess for a pool that is new to it."""
    everything = dict(fits)
    for (version, stage, variant, _), fit in sorted(fits.items()):
        key = (version, stage, variant, ANYWHERE)
        everything[key] = everything[key].plus(fit) if key in everything else fit
    return everything


def of_samples(samples: Iterable[tuple[float, float]]) -> Fit:
    """The fit of (TFLOP, seconds) pairs. What the settling statement does in SQL.

    >>> of_samples([(1, 3), (2, 5)]).at(10, slope=2)
    21.0
    """
    total = Fit(0, 0, 0, 0, 0, 0)
    for tflop, seconds in samples:
        total = total.plus(Fit(1, tflop, seconds, tflop**2, tflop * seconds, seconds**2))
    return total


def typical_bytes(total: float, samples: float) -> int:
    """Bytes that a unit is likely to leave: the mean, rounded up to a power of two, so that classes of equal need stay equal
    while it is still being learned.

    >>> typical_bytes(3_000.0, 2.0)
    2048
    """
    mean = total / samples if samples > 0 else 0.0
    return 0 if mean < 1 else 2 ** math.ceil(math.log2(mean))
