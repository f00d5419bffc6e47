"""Whom to believe, and how far. Pure: counts in, probabilities, quotas and levels out.

Sources: BOINC's adaptive replication (after 10 consecutive valid results a host is checked with probability 1/n) and
its halving quota; the beta reputation system of Josang and Ismail (2002) with exponential forgetting.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

TRUSTED_AFTER: Final = 10  # consecutive valid results
FLOOR: Final = 0.02  # nobody is checked less often than one time in fifty
PRIOR_VALID: Final = 2.0  # alpha of Beta(2, 1): a newcomer is expected to be right two times in three
PRIOR_WRONG: Final = 1.0
HALF_LIFE: Final = timedelta(days=14)
QUARANTINE_AFTER: Final = 3  # wrong results within a day
QUARANTINE_WINDOW: Final = timedelta(days=1)
FIRST_QUARANTINE: Final = timedelta(hours=1)
LONGEST_QUARANTINE: Final = timedelta(days=7)
RECHECKED: Final = 20
RECHECK_ONE_IN: Final = 20  # 5 %
RECHECKED_AT_MOST: Final = 200  # of one pool and version: it is the platform that pays
FULL_QUOTA: Final = 1_024  # results a day; below it a pool that was wrong climbs back by one for each right one


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a pool with one version. `valid`, `invalid`, `lost` are decayed sums as of `age` ago."""

    streak: int = 0
    valid: float = 0.0
    invalid: float = 0.0
    lost: float = 0.0
    samples: int = 0
    age: timedelta = timedelta(0)


NEW: Final = Record()


def replication_probability(streak: int) -> float:
    """How often a pool's results are checked after so many consecutive valid ones: always, then 1/n, at least 2 %."""
    return 1.0 if streak < TRUSTED_AFTER else max(1.0 / streak, FLOOR)


def drawn(secret: str, unit: int, fence: int, probability: float) -> bool:
    """Whether this lease of this unit is checked. Follows from a secret of the server: no agent can foretell it, and
    asking again gives the same answer."""
    text = f"check:{unit}:{fence}".encode()
    number = int.from_bytes(hmac.digest(secret.encode(), text, hashlib.sha256)[:8])
    return number < probability * 2.0**64


def decay(age: timedelta) -> float:
    """What an observation still counts for after `age`: half after 14 days."""
    return float(0.5 ** (max(age, timedelta(0)) / HALF_LIFE))


def expected_valid(record: Record) -> float:
    """The expectation of Beta(2 + valid, 1 + invalid + lost): the probability that the next result is right."""
    kept = decay(record.age)
    right = PRIOR_VALID + record.valid * kept
    return right / (right + PRIOR_WRONG + (record.invalid + record.lost) * kept)


def reputation(record: Record) -> dict[str, Any]:
    """The score with what it is made of. Somebody without a single verdict is new, not bad."""
    kept = decay(record.age)
    return {
        "score": round(expected_valid(record), 4) if record.samples else None,
        "status": "rated" if record.samples else "new",
        "formula": "(2 + valid) / (3 + valid + invalid + lost), each result counting half after 14 days",
        "valid": round(record.valid * kept, 3),
        "invalid": round(record.invalid * kept, 3),
        "lost": round(record.lost * kept, 3),
        "sample_size": record.samples,
    }


def halved(quota: int | None, times: int) -> int:
    """A pool's results a day after so many wrong ones. None is no limit; never below one."""
    return max(1, (FULL_QUOTA if quota is None else quota) >> min(times, 32))


def regained(quota: int | None, right: int) -> int | None:
    """The quota after so many right results; at its full size the limit is lifted."""
    if quota is None or quota + right >= FULL_QUOTA:
        return None
    return quota + right


def recheck_size(results: int) -> int:
    """How many of a caught pool's unchecked results are run again: all of twenty, then twenty or one in twenty, 200 at most."""
    return min(results, max(RECHECKED, min(-(-results // RECHECK_ONE_IN), RECHECKED_AT_MOST)))


def quarantine_of(times: int) -> timedelta:
    """How long a pool gets no work: an hour the first time, twice as long each time after, a week at most."""
    doublings: int = min(max(0, times - 1), 16)
    return min(FIRST_QUARANTINE * (1 << doublings), LONGEST_QUARANTINE)
