"""When this machine goes back to its owner: what the platform says, what is said here, and the earlier of the two.

Moments are kept on a clock that nobody sets and that goes on while the machine sleeps. A wish for a later moment survives a
restart of the agent in a file, but not one of the machine: its clock starts anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gridfare.agent.files import write_atomically

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LONGEST_S = 604_800.0


def uptime() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Names this run of the machine; empty where the kernel does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def write_wish(path: Path, in_s: float, for_s: float | None) -> None:
    """Keep the wish to have the machine back in ``in_s`` seconds, for ``for_s`` seconds (None: until it is taken back)."""
    at = uptime() + in_s
    wish = {"boot": boot_id(), "at": at, "until": None if for_s is None else at + for_s}
    write_atomically(path, json.dumps(wish).encode())


def read_wish(path: Path) -> float | None:
    """Seconds until the owner wants the machine (0 when that is past), or None when nobody does."""
    try:
        wish = json.loads(path.read_bytes())
        at, until = float(wish["at"]), wish["until"]
        if wish["boot"] != boot_id() or (until is not None and uptime() >= float(until)):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return min(max(at - uptime(), 0.0), LONGEST_S)


Wish = Callable[[], float | None]


def earliest(*seconds: float | None) -> float | None:
    """The least of what is known; None when nothing is."""
    return min((one for one in seconds if one is not None), default=None)


@dataclass(slots=True)
class Notice:
    """The notice that stands now. ``wish`` is asked for what is wanted on this machine itself."""

    wish: Wish
    platform_at: float | None = None

    def hear(self, in_s: float | None) -> None:
        """The platform's word: the pool's machines go back in so many seconds, or stay (None)."""
        self.platform_at = None if in_s is None else uptime() + in_s

    def left_s(self) -> float | None:
        """Seconds until the machine goes back; None when it stays."""
        return earliest(None if self.platform_at is None else max(self.platform_at - uptime(), 0.0), self.wish())
