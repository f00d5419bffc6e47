"""A peak -> what is billed: day factor, floor, review. Pure, fractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Final

from metering.peaks.grid import Calendar
from metering.peaks.policy import Policy
from metering.peaks.statistic import Peak

REVIEW_ABOVE: Final = Fraction(1, 100)  # more unknown slots than this, and a person looks at the charge


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is billed for a peak, in the meter's unit (times days for daily policies: one).

    billed   the quantity that is priced
    other    the same with unknown slots left out, None where nothing is known
    review   whether a person decides between the two
    formula  how `billed` came about, as text
    """

    billed: Fraction
    other: Fraction | None
    review: bool
    formula: str


def floor_of(policy: Policy, caps: Sequence[int]) -> Fraction:
    """The floor (保底): the mean over active days of min_ratio x the day's highest cap.

    With `whole`, each day's and the mean's fraction are cut off, as Huawei does.
    """
    if not caps or not policy.min_ratio:
        return Fraction(0)
    days = [_cut(policy, policy.min_ratio * cap) for cap in caps]
    return _cut(policy, Fraction(sum(days), len(days)))


def settle(policy: Policy, peak: Peak, calendar: Calendar, caps: Sequence[int] = ()) -> Settlement:
    """max(peak x valid days / days, floor x active days / days); without `day_factor` both count for the whole month.

    caps   what the customer may use at most, one per active day (the day's highest); empty where there is no floor
    """
    least = floor_of(policy, caps)
    billed = _billed(policy, peak.value, least, peak, calendar)
    other = None if peak.other_value is None else _billed(policy, peak.other_value, least, peak, calendar)
    review = peak.unknown > REVIEW_ABOVE * peak.width
    return Settlement(billed, other, review, _formula(policy, peak, calendar, least, billed))


def _factors(policy: Policy, peak: Peak, calendar: Calendar) -> tuple[Fraction, Fraction]:
    """Of the peak and of the floor."""
    if policy.daily or not policy.day_factor:
        return Fraction(1), Fraction(1)
    return Fraction(peak.valid_days, calendar.month_days), Fraction(len(calendar.days), calendar.month_days)


def _billed(policy: Policy, value: Fraction, least: Fraction, peak: Peak, calendar: Calendar) -> Fraction:
    of_peak, of_floor = _factors(policy, peak, calendar)
    return max(_cut(policy, value) * of_peak, least * of_floor)


def _cut(policy: Policy, value: Fraction) -> Fraction:
    return Fraction(floor(value)) if policy.whole else value


def _formula(policy: Policy, peak: Peak, calendar: Calendar, least: Fraction, billed: Fraction) -> str:
    value = _cut(policy, peak.value)
    parts = f"({' + '.join(str(winner.value) for winner in peak.winners)}) / {peak.parts} = " if peak.parts > 1 else ""
    rank = f" rank {peak.winners[0].rank} of {peak.samples} slots" if policy.daily or policy.kind == "month_p95" else ""
    text = f"{policy}{rank}: {parts}{value}"
    factored = policy.day_factor and not policy.daily
    days = calendar.month_days
    if factored:
        text += f"; x {peak.valid_days} / {days} days = {value * Fraction(peak.valid_days, days)}"
    if least:
        active = f" x {len(calendar.days)} / {days} days" if factored else ""
        text += f"; floor {least}{active}"
    return f"{text}; billed {billed}"
