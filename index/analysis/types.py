"""The index beside the digital economy: a line, how far it holds, and which regions stand above or below it. Pure.

An association of regions at one time, no cause. The rule of the types is ours: the report prints none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

BALANCED: Final = 0.5  # standard deviations on either side
FEWEST: Final = 5  # regions


@dataclass(frozen=True, slots=True)
class Line:
    """y = start + slope * x by least squares over n regions; the slope's interval of 95 %; R squared; residuals of z-scores."""

    n: int
    start: float
    slope: float
    low: float
    high: float
    r2: float
    residuals: Mapping[str, float]

    def kind(self, region: str, neutral: float = BALANCED) -> str:
        """supply_driven: more compute service than the economy would have, demand_pulled: less; balanced between."""
        apart = self.residuals[region]
        return "supply_driven" if apart < -neutral else "demand_pulled" if apart > neutral else "balanced"


def line_of(index: Mapping[str, float], economy: Mapping[str, float]) -> Line | None:
    """None below FEWEST regions of which both are known, or where either is the same for all."""
    regions = sorted(index.keys() & economy.keys())
    x, y = (np.array([values[region] for region in regions]) for values in (index, economy))
    if len(regions) < FEWEST or not x.std() or not y.std():
        return None
    from scipy import stats  # heavy: only who asks for the line pays for it

    found = stats.linregress(x, y)
    reach = float(stats.t.ppf(0.975, len(regions) - 2)) * float(found.stderr)
    zx, zy = ((one - one.mean()) / one.std(ddof=1) for one in (x, y))
    apart = zy - float(found.rvalue) * zx
    slope = float(found.slope)
    return Line(
        len(regions), float(found.intercept), slope, slope - reach, slope + reach, float(found.rvalue) ** 2,
        {region: round(float(one), 9) for region, one in zip(regions, apart, strict=True)},
    )  # fmt: skip
