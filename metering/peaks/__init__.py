"""Peaks (当日峰值, 当月峰值), exactly: from intervals to slots, from slots to the peak that is billed, and its evidence. Pure.

    grid       5-minute slots of a local day in an IANA zone: 288, or 276 and 300 where clocks change
    sweep      intervals -> concurrency -> one whole number per slot
    policy     which statistic, as data
    statistic  the days' slots -> a peak, by policy
    settle     a peak -> what is billed: day factor, floor, review
    evidence   what a customer needs to find the same peak

`metering/peaks_sql.py` says `statistic` in SQL. docs/billing/peaks.md has the formulas and their sources.
"""

from __future__ import annotations

from metering.peaks.evidence import digest_of, evidence_of
from metering.peaks.grid import Calendar, calendar_of, day_start, slot_start, width_of
from metering.peaks.policy import Policy, parse_policy
from metering.peaks.settle import Settlement, floor_of, settle
from metering.peaks.statistic import Day, Peak, Winner, peaks_of
from metering.peaks.sweep import Interval, directed, levels_of, slots_of

__all__ = [
    "Calendar",
    "Day",
    "Interval",
    "Peak",
    "Policy",
    "Settlement",
    "Winner",
    "calendar_of",
    "day_start",
    "digest_of",
    "directed",
    "evidence_of",
    "floor_of",
    "levels_of",
    "parse_policy",
    "peaks_of",
    "settle",
    "slot_start",
    "slots_of",
    "width_of",
]
