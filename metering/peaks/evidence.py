"""What makes a peak provable: the digest of its slots, the rank, the winning slots, those removed above them, the formula. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

from metering.peaks.grid import Calendar, moment_of, slot_start
from metering.peaks.policy import Policy
from metering.peaks.settle import settle
from metering.peaks.statistic import Day, Peak, Winner, peaks_of, recorded_of, valid_of, zeroed

ALGORITHM: Final = "peaks/1"


def text_of(day: Day) -> str:
    """A day as PostgreSQL prints it (`local_day || ' ' || slots::text`): what the digest is made of."""
    slots = ",".join("NULL" if slot is None else str(slot) for slot in day.slots)
    return f"{day.local_day} {{{slots}}}"


def digest_of(days: Iterable[Day]) -> str:
    """SHA-256, in hexadecimal, of the days in order, one a line."""
    lines = (text_of(day) for day in sorted(days, key=lambda day: day.local_day))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def evidence_of(
    policy: Policy, days: Sequence[Day], calendar: Calendar, zone: ZoneInfo, caps: Sequence[int] = ()
) -> list[dict[str, Any]]:
    """For each peak, a JSON document from which anyone can find it again."""
    recorded = recorded_of(days, calendar)
    return [_document(policy, peak, recorded, calendar, zone, caps) for peak in peaks_of(policy, days, calendar)]


def _document(
    policy: Policy, peak: Peak, recorded: Sequence[Day], calendar: Calendar, zone: ZoneInfo, caps: Sequence[int]
) -> dict[str, Any]:
    settled = settle(policy, peak, calendar, caps)
    of = [day for day in recorded if peak.local_day in {None, day.local_day}]
    removed = removed_of(policy, peak, valid_of(policy, recorded, calendar))
    return {
        "algorithm": ALGORITHM,
        "policy": policy.document(),
        "zone": zone.key,
        "digest": digest_of(of),
        "samples": peak.samples,
        "valid_days": peak.valid_days,
        "unknown_slots": peak.unknown,
        "winners": [_slot(winner.local_day, winner.slot, winner.value, zone) | {"rank": winner.rank} for winner in peak.winners],
        "removed": [_slot(day, slot, value, zone) for day, slot, value in removed],
        "value": str(peak.value),
        "billed": str(settled.billed),
        "billed_without_unknown": None if settled.other is None else str(settled.other),
        "review": settled.review,
        "formula": settled.formula,
    }


def removed_of(policy: Policy, peak: Peak, valid: Sequence[Day]) -> list[tuple[date, int, int]]:
    """The slots above each winner in its sample: (day, slot, value), highest first, of equal ones the latest first."""
    if policy.kind == "month_p95":
        return _above(peak.winners[0], valid)
    there = {day.local_day: day for day in valid}
    return [slot for winner in peak.winners for slot in _above(winner, [there[winner.local_day]])]


def _above(winner: Winner, days: Sequence[Day]) -> list[tuple[date, int, int]]:
    slots = [(day.local_day, number, slot or 0) for day in map(zeroed, days) for number, slot in enumerate(day.slots)]
    ordered = sorted(slots, key=lambda slot: (slot[2], slot[0], slot[1]), reverse=True)
    return ordered[: winner.rank - 1]


def _slot(day: date, slot: int, value: int, zone: ZoneInfo) -> dict[str, Any]:
    at = moment_of(slot_start(day, slot, zone)).isoformat().replace("+00:00", "Z")
    return {"local_day": day.isoformat(), "slot": slot, "at": at, "value": value}
