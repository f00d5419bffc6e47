"""The reason table: what an ended attempt means for its unit. Data first, one pure function over it.

| class            | for example                      | retried | counts as a try | avoid this pool |
|------------------|----------------------------------|---------|-----------------|-----------------|
| capability_error | exit code, outputs missing       | only if the capability says so | yes | no  |
| (accused)        | the same, unconfirmed            | on another owner's pool | no     | its owner's pools |
| limit_exceeded   | time, memory, output size        | no      | yes             | -               |
| node_fault       | lease lost, disk, environment    | yes     | only if the agent reported it | yes |
| reclaimed        | the owner took the machine back  | yes     | no              | yes             |
| invalid_result   | refused by a check               | yes     | yes             | yes             |
| user_cancel      | the user's wish                  | no      | -               | -               |
| platform_fault   | our own                          | yes     | no              | no              |
| (released)       | given back unstarted             | yes     | no              | only if this pool cannot run it |

A manifest's `retry.on` replaces the classes that are tried again. A capability is blamed once two different owners' pools say so,
or where that cannot be had or needs no proof (`Charge`). Whatever happened, a unit is leased MAX_FENCE times at most.
Who pays for what is the other half of the table: `billing/pricing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

REASONS: Final = (
    "capability_error",
    "limit_exceeded",
    "node_fault",
    "reclaimed",
    "invalid_result",
    "superseded",
    "user_cancel",
    "platform_fault",
)
# What an agent may say of its own attempt; anything else is a node's fault.
REPORTABLE: Final = ("capability_error", "limit_exceeded", "node_fault", "reclaimed", "user_cancel")
MAX_FENCE: Final = 25  # leases of one unit, whatever happened: a unit that kills machines, or that nobody takes, stops here
RETRY_DELAY: Final = timedelta(seconds=1)
LONGEST_DELAY: Final = timedelta(minutes=5)
FREE_LEASES: Final = 3  # so many leases may end without counting before those waits grow, too
_RETRIED: Final = frozenset({"node_fault", "reclaimed", "invalid_result"})


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a unit may be tried again: `max_attempts` that count and no longer than `window_s`, whichever ends first.

    From the manifest's `retry`; `on` are the classes that are tried again, `capability_error` adds that one to them.
    What is the platform's own fault is tried again whatever the manifest says.
    """

    max_attempts: int = 3
    window_s: int = 86_400
    capability_error: bool = False
    on: frozenset[str] = _RETRIED
    deterministic: tuple[int, ...] = ()

    @classmethod
    def of(cls, retry: dict[str, Any]) -> Policy:
        known: dict[str, Any] = {name: retry[name] for name in ("max_attempts", "window_s", "capability_error") if name in retry}
        known |= {"on": frozenset(retry.get("on", _RETRIED)), "deterministic": tuple(retry.get("deterministic", ()))}
        return cls(**known)

    def retries(self, reason: str) -> bool:
        """Whether this class is tried again at all."""
        return reason == "platform_fault" or reason in self.on or (reason == "capability_error" and self.capability_error)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a unit whose attempt ended without a valid result."""

    unit_state: Literal["waiting", "failed", "cancelled", "superseded"]
    counts: bool
    avoid_pool: bool


@dataclass(frozen=True, slots=True)
class Charge:
    """What speaks for and against a capability that one pool says has failed.

    exit_code   as reported, None if there was none       said_before  another owner's pool has said so of this unit
    elsewhere   another owner's pool could run it now
    """

    exit_code: int | None
    said_before: bool
    elsewhere: bool

    def proven(self, policy: Policy) -> bool:
        """Whether the capability is to blame; otherwise one confirming run on another owner's pool decides."""
        return self.said_before or not self.elsewhere or self.exit_code in policy.deterministic


_FREE: Final = {"reclaimed", "platform_fault"}
_AVOID: Final = {"node_fault", "reclaimed", "invalid_result"}


def verdict_of(
    reason: str, *, lost: bool, tries: int, fence: int, age: timedelta, policy: Policy, proven: bool = True
) -> Verdict:
    """Decide by the table above.

    proven a capability's error is its own (`Charge.proven`)
    lost   the lease ran out: nobody reported, so it does not count as a try
    tries  ended attempts that counted so far; fence  leases so far; age  since the task was submitted
    """
    if reason == "user_cancel":
        return Verdict("cancelled", counts=False, avoid_pool=False)
    if reason == "capability_error" and not (proven or policy.capability_error):
        may = fence < MAX_FENCE and age.total_seconds() < policy.window_s
        return Verdict("waiting" if may else "failed", counts=not may, avoid_pool=False)
    counts = not lost and reason not in _FREE
    left = tries + counts < policy.max_attempts and fence < MAX_FENCE and age.total_seconds() < policy.window_s
    return Verdict("waiting" if policy.retries(reason) and left else "failed", counts=counts, avoid_pool=reason in _AVOID)


def backoff(*, counts: bool, tries: int, fence: int) -> timedelta:
    """How long a unit waits before it is tried again: 1, 2, 4 ... s by the tries that counted before, at most 5 minutes.

    An end that is no try is repeated at once, until a unit has been leased more often than bad luck explains.

    >>> [backoff(counts=True, tries=n, fence=n + 1).total_seconds() for n in (0, 1, 2, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    step = tries if counts else fence - FREE_LEASES - 1
    return timedelta(0) if step < 0 else min(RETRY_DELAY * 2 ** min(step, 20), LONGEST_DELAY)


def verdict_of_release(*, fence: int, unable: bool) -> Verdict:
    """An attempt given back unstarted is no try, but it was a lease. `unable`: this pool cannot run it at all."""
    return Verdict("waiting" if fence < MAX_FENCE else "failed", counts=False, avoid_pool=unable)
