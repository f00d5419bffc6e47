"""When a delivery is tried again, and what an answer means. Pure: values in, values out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

FIRST_S: Final = 5
LONGEST: Final = timedelta(hours=1)
KEEP_TRYING: Final = timedelta(hours=24)
DISABLE_AFTER: Final = timedelta(days=3)
GONE: Final = 410
_SLOW: Final = frozenset({429, 502, 503, 504})  # answers that ask for patience: their Retry-After counts


def is_success(status: int | None) -> bool:
    """Only 2xx is: a redirect is nobody's receipt."""
    return status is not None and 200 <= status <= 299


def wait_after(tries: int, chance: float, retry_after: str = "", status: int | None = None) -> timedelta:
    """How long to wait after so many tries: 5 s, doubled with every try up to an hour, times 0.5 to 1 by chance.

    tries        at least 1
    chance       from 0 to 1; jitter keeps deliveries that failed together from coming back together
    retry_after  the answer's header, in seconds; heeded for 429, 502, 503 and 504, up to an hour
    """
    longest = min(FIRST_S * 2 ** min(tries - 1, 20), int(LONGEST.total_seconds()))
    wait = timedelta(seconds=longest * (0.5 + chance / 2))
    asked = retry_after.strip()
    if status in _SLOW and asked.isascii() and asked.isdigit() and len(asked) < 8:
        wait = max(wait, min(timedelta(seconds=int(asked)), LONGEST))
    return wait


@dataclass(frozen=True)
class Verdict:
    """What becomes of a delivery after a try.

    state     `delivered`, `pending` or `given_up`
    due_at    when it is tried again; for one that ended, now
    disables  its endpoint is turned off: why, or nothing
    """

    state: str
    due_at: datetime
    disables: str = ""


def judge(
    *,
    status: int | None,
    now: datetime,
    tries: int,
    first_tried_at: datetime,
    failing_since: datetime,
    chance: float,
    retry_after: str = "",
) -> Verdict:
    """The verdict on one try.

    status         None: no answer came
    first_tried_at of this delivery since it was made, or replayed
    failing_since  when its endpoint failed first without a success since; this try's moment when it is the first

    A try that fails within the first 24 hours is always followed by another, so a receiver that is down for a day misses
    nothing. An endpoint is turned off when a delivery is given up and nothing has reached it for three days, or when
    it says 410 Gone: that it wants no more.
    """
    if is_success(status):
        return Verdict("delivered", now)
    if status == GONE:
        return Verdict("given_up", now, "it answered 410 Gone")
    if now - first_tried_at < KEEP_TRYING:
        return Verdict("pending", now + wait_after(tries, chance, retry_after, status))
    quiet = now - failing_since >= DISABLE_AFTER
    return Verdict("given_up", now, f"nothing has reached it since {failing_since:%Y-%m-%d %H:%M} UTC" if quiet else "")
