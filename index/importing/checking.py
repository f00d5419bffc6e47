"""Lines as observations, and what is wrong or strange about them, in plain words with the row. Pure.

Errors stop a commit, warnings are for whoever commits. Errors: a region, unit, number, year or date that is none, a name that is
another region's, one place twice, a unit that does not convert into the variable's. Warnings: a value a thousand times off its
neighbours' or its own before, regions that do not come to the whole country's control total, a vintage that is guessed.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from statistics import median
from typing import Any, Final

from core.errors import Invalid
from index.importing.reading import Line
from index.precisions import BASE, conversion_of, in_fp32
from index.regions import NATION, PROVINCES
from index.units import UNITS, Unit, unit_of

JUMP: Final = 5.0  # times the value of the period before
APART: Final = 4.0  # robust standard deviations of logarithms
OFF: Final = Decimal("0.02")  # of a control total
_NUMBER: Final = re.compile(r"[+-]?\d{1,24}(?:\.\d{1,12})?").fullmatch
_PERIOD: Final = re.compile(r"(19|20)\d\d(-(0[1-9]|1[0-2]))?").fullmatch
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,59}").fullmatch
_ENDINGS: Final = ("特别行政区", "壮族自治区", "回族自治区", "维吾尔自治区", "自治区", "省", "市")
FLOPS: Final = UNITS["FLOPS_FP32"].dimension
UNSTATED: Final = UNITS["FLOPS_unstated"].dimension
# A variable that must come near another of the same region and period, within so much.
NEAR: Final = {"population_year_end": ("population_annual_avg_derived", Decimal("0.1"))}
# Series of one variable, in the order in which they are published, and by when.
SERIES: Final = {"gdp_preliminary": ("gdp", date(2023, 3, 31)), "gdp_revised": ("gdp", date(2025, 3, 31))}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong (`error`) or strange (`warning`), in which row and column."""

    severity: str
    code: str
    row: int
    field: str
    detail: str

    def document(self) -> dict[str, Any]:
        return {"severity": self.severity, "code": self.code, "row": self.row, "field": self.field, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Observed:
    """A line that can be kept."""

    row: int
    region: str
    variable: str
    period: str
    value: Decimal
    unit: Unit
    vintage: date
    cells: Mapping[str, str]
    evidence: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, str, date]:
        return self.variable, self.period, self.region, self.vintage


def check_lines(
    lines: Iterable[Line], variables: Mapping[str, Unit], before: Mapping[tuple[str, str], Decimal], published: date
) -> tuple[list[Observed], list[Finding]]:
    """What can be kept, and all that was found, in the order of rows.

    variables  units of what definitions know; others are kept as they are
    before     (variable, region) -> the latest earlier period's value, in base units
    published  the vintage where a row has none
    """
    kept, found = [], list[Finding]()
    for line in lines:
        try:
            one = _observed(line, variables, published)
        except Invalid as error:
            found.append(Finding("error", error.code, line.row, error.field or "", error.detail))
            continue
        kept += [one] if one else []
    found += _converted(kept)
    found += _twice(kept)
    found += _strange(kept, before)
    return kept, sorted(found, key=lambda one: (one.row, one.severity, one.code))


def _observed(line: Line, variables: Mapping[str, Unit], published: date) -> Observed | None:
    """None where no value stands. Invalid with the column in `field`."""
    cells = line.cells
    region, indicator = cells.get("region_code", ""), cells.get("indicator", "")
    _known_region(region, cells)
    if not _NAME(indicator):
        raise Invalid(
            "indicator_invalid", f"{indicator!r} is no name of an indicator: lower-case letters, digits and _", field="indicator"
        )
    period = cells.get("year", "")
    if not _PERIOD(period):
        raise Invalid("period_invalid", f"{period!r} is neither a year nor a month such as 2022-03", field="year")
    text = cells.get("value", "").replace(",", "")
    if not text:
        return None
    if not _NUMBER(text):
        raise Invalid("value_invalid", f"{text[:40]!r} is no number", field="value")
    unit = unit_of(cells.get("unit", ""))
    variable, vintage = SERIES.get(indicator, (indicator, published))
    wanted, value = variables.get(variable), Decimal(text)
    if wanted and wanted.dimension == FLOPS and unit.dimension == UNSTATED:
        conversion = conversion_of(cells.get("precision", ""))
        stated = UNITS["EFLOPS_FP32" if unit.code == "EFLOPS" else "FLOPS_FP32"]
        told = conversion.document(value, unit.code)
        return Observed(
            line.row, region, variable, period, in_fp32(value, conversion), stated, _vintage(cells, vintage), cells, told
        )  # fmt: skip
    if wanted and wanted.dimension != unit.dimension:
        raise Invalid(
            "unit_mismatch", f"{variable} is counted in {wanted.code}, which {unit.code} does not convert to", field="unit"
        )
    return Observed(line.row, region, variable, period, value, unit, _vintage(cells, vintage), cells)


def _known_region(region: str, cells: Mapping[str, str]) -> None:
    if region != NATION and region not in PROVINCES:
        raise Invalid("region_unknown", f"{region[:20]!r} is the code of no province by GB/T 2260", field="region_code")
    name, english = cells.get("region_name_zh", ""), cells.get("region_name_en", "")
    if region == NATION:
        return
    province = PROVINCES[region]
    if name and _short(name) != _short(province.zh):
        raise Invalid("region_mismatch", f"{region} is {province.zh}, not {name[:20]}", field="region_name_zh")
    if english and english.lower() != province.en.lower():
        raise Invalid("region_mismatch", f"{region} is {province.en}, not {english[:30]}", field="region_name_en")


def _short(name: str) -> str:
    for ending in _ENDINGS:
        if name.endswith(ending) and len(name) > len(ending) + 1:
            return name.removesuffix(ending)
    return name


def _vintage(cells: Mapping[str, str], otherwise: date) -> date:
    text = cells.get("vintage", "")
    if not text:
        return otherwise
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise Invalid("vintage_invalid", f"{text[:20]!r} is no date such as 2023-02-28", field="vintage") from None


def _converted(kept: Sequence[Observed]) -> Iterator[Finding]:
    """Whoever commits sees what was made of what the file says."""
    for one in kept:
        if one.evidence and one.evidence["precision"] != BASE:
            told = one.evidence
            detail = f"{told['quoted']} of {told['precision']} on {told['device']} count as {one.value:f} {one.unit.code}"
            yield Finding("warning", "fp32_converted", one.row, "precision", f"{detail} (factor {told['factor']}, {told['table']})")


def _twice(kept: Sequence[Observed]) -> Iterator[Finding]:
    first: dict[tuple[str, str, str, date], Observed] = {}
    for one in kept:
        other = first.setdefault(one.place, one)
        if other is not one:
            detail = f"{one.variable} of {one.region} in {one.period} stands in row {other.row} already"
            yield Finding("error", "observed_twice", one.row, "region_code", detail)


def _strange(kept: Sequence[Observed], before: Mapping[tuple[str, str], Decimal]) -> Iterator[Finding]:
    groups: dict[tuple[str, str, date], list[Observed]] = defaultdict(list)
    for one in kept:
        groups[one.variable, one.period, one.vintage].append(one)
    for group in groups.values():
        regions = [one for one in group if one.region != NATION]
        yield from _far_from_others(regions)
        yield from _against_total(regions, [one for one in group if one.region == NATION])
    yield from _jumps(kept, before)
    yield from _not_near(kept)


def _far_from_others(regions: Sequence[Observed]) -> Iterator[Finding]:
    """By the logarithm's distance from the median in robust deviations, and a thousand times off what is next to it."""
    logs = {one.row: math.log10(base) for one in regions if (base := _base(one)) > 0}
    if len(logs) < 8:
        return
    middle = median(logs.values())
    spread = 1.4826 * median(abs(log - middle) for log in logs.values())
    ordered = sorted(logs.values())
    for one in regions:
        apart = abs(logs.get(one.row, middle) - middle)
        if apart > max(APART * spread, 1.0) and _gap(logs[one.row], ordered) > 0.5:
            times = f"{10**apart:,.0f} times {'above' if logs[one.row] > middle else 'below'}"
            yield Finding(
                "warning",
                "far_from_others",
                one.row,
                "value",
                f"{one.value} {one.unit.code} is {times} the median: a unit mistaken?",
            )


def _gap(log: float, ordered: Sequence[float]) -> float:
    """How far the next one is."""
    return min((abs(log - other) for other in ordered if other != log), default=0.0)


def _against_total(regions: Sequence[Observed], totals: Sequence[Observed]) -> Iterator[Finding]:
    """Only where all provinces are there and their sum means something."""
    for total in totals:
        if len({one.region for one in regions}) == len(PROVINCES) and not _is_ratio(total.unit) and _base(total):
            off = sum((_base(one) for one in regions), Decimal(0)) / _base(total) - 1
            if abs(off) > OFF:
                detail = f"the provinces come to {100 * off:+.1f} % of the country's {total.value} {total.unit.code}"
                yield Finding("warning", "control_total", total.row, "value", detail)


def _is_ratio(unit: Unit) -> bool:
    return not unit.dimension or any(power < 0 for _, power in unit.dimension)


def _jumps(kept: Sequence[Observed], before: Mapping[tuple[str, str], Decimal]) -> Iterator[Finding]:
    """Against the period before, in the file or kept earlier."""
    series: dict[tuple[str, str], list[Observed]] = defaultdict(list)
    for one in kept:
        series[one.variable, one.region].append(one)
    for place, found in series.items():
        last = before.get(place)
        for one in sorted(found, key=lambda one: (one.period, one.vintage)):
            value = _base(one)
            if last and value and not 1 / JUMP <= abs(value / last) <= JUMP:
                times = f"{float(value / last):,.3g}"
                yield Finding(
                    "warning", "jump", one.row, "value", f"{one.variable} of {one.region} is {times} times the period before"
                )
            last = value


def _not_near(kept: Sequence[Observed]) -> Iterator[Finding]:
    values = {(one.variable, one.period, one.region): one for one in kept}
    for one in kept:
        other, within = NEAR.get(one.variable, ("", Decimal(0)))
        found = values.get((other, one.period, one.region))
        if found and _base(found) and abs(_base(one) / _base(found) - 1) > within:
            detail = f"{one.value} {one.unit.code} is not near {other}, {found.value} {found.unit.code} (row {found.row})"
            yield Finding("warning", "not_near", one.row, "value", detail)


def _base(one: Observed) -> Decimal:
    return one.value * one.unit.factor
