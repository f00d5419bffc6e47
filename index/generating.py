"""Values for what no public source has, so that all pages can be seen: from a seed, and marked wherever they show. Pure.

A value grows with the region's size, a few per cent a year, and differs by chance. It says nothing of any province.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from index.regions import PROVINCES
from index.trees import Definition
from index.units import Unit

SEED: Final = 2023
KNOWN: Final = 2022  # the year of the sample statistics
SOURCE: Final = "generated from a seed: no statistics"
# Between what the least and the greatest region have, where a value does not grow with size.
_RATES: Final = {"percent": (30.0, 75.0), "points_0_100": (60.0, 95.0), "ms": (8.0, 60.0), "count_0_20": (8.0, 20.0)}
_PER_SIZE: Final = {"EFLOPS_FP32": 12.0, "CNY_100M": 3_000.0, "count": 6_000.0, "firms": 9_000.0, "persons_10k": 5_000.0}
# Of the largest region, where what the unit says would be far from what the country has in all.
_PER_VARIABLE: Final = {
    "digital_economy": 64_000.0, "de_primary_secondary": 13_000.0, "mobile_users": 17_000.0, "users_5g": 12_000.0,
}  # fmt: skip


def generated(
    definition: Definition, years: Iterable[int], sizes: Mapping[str, float], known: Mapping[str, Mapping[str, float]],
    seed: int = SEED,
) -> bytes:  # fmt: skip
    """CSV by the contract of imports: of every national variable.

    sizes  how large each region is, of any scale
    known  by variable: what there is of it in the year KNOWN, in its unit; other years are generated from it
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["region_code", "indicator", "year", "value", "unit", "source"])
    shares = {region: sizes.get(region, 0.0) / max(sizes.values()) for region in PROVINCES}
    for code, variable in definition.variables.items():
        if variable.profile != "national":
            continue
        if code in known:
            writer.writerows(_around(code, variable.unit, known[code], years, seed))
            continue
        for region in PROVINCES:
            for year in years:
                drawn = _Drawn(definition, region, shares[region], year, seed)
                writer.writerow([region, code, year, drawn.used(code) or drawn.value(code), variable.unit.code, SOURCE])
    return out.getvalue().encode()


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A region's values of a year; `share` of what the largest region has."""

    definition: Definition
    region: str
    share: float
    year: int
    seed: int

    def value(self, code: str) -> str:
        """Of its own, by the region's share."""
        same = code.removesuffix("_before")  # the year before of the same
        place = f"{self.seed}/{same}/{self.region}"
        draw = Random(place)
        level = self.share**0.8 * draw.uniform(0.6, 1.4) + 0.01
        growth = draw.uniform(1.04, 1.16)
        past = self.year if same == code else self.year - 1
        return _value(code, self.definition.variables[code].unit, level, growth, past - KNOWN, Random(f"{place}/{past}"))

    def used(self, code: str) -> str:
        """A part of the capacity that is offered, which cannot be used twice; empty where it is no capacity in use."""
        kind = code.removeprefix("used_")
        offered = sum(self._known(f"{owner}_{kind}") for owner in ("dc", "private")) * self._known(f"service_ratio_{kind}") / 100
        if kind == code or not offered:
            return ""
        part = Random(f"{self.seed}/{code}/{self.region}").uniform(0.3, 0.8)
        noise = Random(f"{self.seed}/{code}/{self.region}/{self.year}").uniform(0.95, 1.05)
        return f"{max(offered * part * noise, 0.001):.3f}"

    def _known(self, code: str) -> float:
        return float(self.value(code)) if code in self.definition.variables else 0.0


def _around(code: str, unit: Unit, known: Mapping[str, float], years: Iterable[int], seed: int) -> list[list[object]]:
    """Rows of the years before and after one that is known."""
    found: list[list[object]] = []
    for region, value in known.items():
        growth = Random(f"{seed}/{code}/{region}").uniform(1.04, 1.09)
        for year in years:
            noise = Random(f"{seed}/{code}/{region}/{year}").uniform(0.99, 1.01)
            then = value * growth ** (year - KNOWN) * noise
            found += [[region, code, year, f"{then:.3f}", unit.code, SOURCE]] if year != KNOWN else []
    return found


def _value(code: str, unit: Unit, level: float, growth: float, years: int, draw: Random) -> str:
    noise = draw.uniform(0.97, 1.03)
    if unit.code in _RATES:
        low, high = _RATES[unit.code]
        share = min(max(level * noise + 0.02 * years, 0.0), 1.0)
        found = high - (high - low) * share if unit.code == "ms" else low + (high - low) * share
        return f"{found:.0f}" if unit.code == "count_0_20" else f"{found:.2f}"
    part = 0.45 if code.startswith("users_") else 1.0
    found = _PER_VARIABLE.get(code, _PER_SIZE[unit.code]) * level * part * growth**years * noise
    return f"{max(found, 1):.0f}" if unit.code in {"count", "firms"} else f"{max(found, 0.001):.3f}"
