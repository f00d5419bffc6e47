"""A pool's level: what it has shown of itself, and until when that holds. Pure.

    L0  registered
    L1  admitted: an agent with a key of its own has joined, and the market took the pool in
    L2  measured: self-test passed and benchmark run within 30 days
    L3  proven: L2, admitted for 90 days, at least 50 checked results of which 98 % were right, and no quarantine
    L4  audited: L3, and an operator vouches for an independent audit that has not run out

A level ends with the first of what it rests on; a week before, its owner is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from scheduler.verification.trust import Record, decay

MEASURED_FOR: Final = timedelta(days=30)
PROVEN_AFTER: Final = timedelta(days=90)
ENOUGH_RESULTS: Final = 50
RIGHT_SHARE: Final = 0.98
NOTICE: Final = timedelta(days=7)
ADMITTED: Final = ("active", "draining")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a level is decided by. `records` are the pool's, of all versions."""

    state: str
    has_agent: bool
    verified_at: datetime | None
    selftest_at: datetime | None
    measured: bool
    quarantined: bool
    audited_until: datetime | None
    records: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """The level, its end (None: open), and what is missing for the next."""

    number: int
    until: datetime | None
    missing: str


def level_of(standing: Standing, now: datetime) -> Level:
    """The highest level all of whose conditions hold now."""
    if standing.state not in ADMITTED or not standing.has_agent:
        return Level(0, None, "an agent that has joined, and to be admitted")
    fresh_until = standing.selftest_at + MEASURED_FOR if standing.selftest_at else None
    if fresh_until is None or fresh_until <= now or not standing.measured:
        return Level(1, None, "a self-test and a benchmark, passed within 30 days")
    if missing := _missing_for_proven(standing, now):
        return Level(2, fresh_until, missing)
    audited = standing.audited_until
    if audited is None or audited <= now:
        return Level(3, fresh_until, "an independent audit that has not run out")
    return Level(4, min(fresh_until, audited), "")


def _missing_for_proven(standing: Standing, now: datetime) -> str:
    if standing.quarantined:
        return "to come back from quarantine"
    if standing.verified_at is None or now - standing.verified_at < PROVEN_AFTER:
        return "90 days since it was verified"
    samples, share = right_share(standing.records)
    if samples < ENOUGH_RESULTS:
        return f"{ENOUGH_RESULTS} checked results; there are {samples}"
    if share < RIGHT_SHARE:
        return f"98 % right results; there are {share:.1%}"
    return ""


def right_share(records: tuple[Record, ...]) -> tuple[int, float]:
    """(checked results, share of right ones, recent ones counting more)."""
    right = sum(record.valid * decay(record.age) for record in records)
    wrong = sum((record.invalid + record.lost) * decay(record.age) for record in records)
    return sum(record.samples for record in records), right / (right + wrong) if right + wrong else 0.0


def ends_soon(level: Level, now: datetime) -> bool:
    """Whether the owner is to be told that the level ends."""
    return level.until is not None and level.until - now <= NOTICE
