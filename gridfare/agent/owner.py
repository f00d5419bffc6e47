"""Machines that somebody else uses, too: work only while they are idle, in the hours and loads that the owner set.

What the machine feels comes through `Senses`, a small surface that other systems can replace. What it means is decided
by `Watch`, on a clock that nobody sets; only the hours of the day need the wall's.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import re
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOOK_S = 0.2
NOTICE_S = 300.0
"""How long before the end of the allowed hours programs are asked for a checkpoint."""
DAY_S = 86_400
HOURS = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)")
INPUT_DEVICES = ("/dev/tty[0-9]*", "/dev/pts/[0-9]*")
POWER = Path("/sys/class/power_supply")
INTERRUPTS = Path("/proc/interrupts")


class RulesError(ValueError):
    """The owner's rules cannot be understood."""


@dataclass(frozen=True, slots=True)
class IdleRules:
    """When this machine may work for others.

    hours        periods of the day such as 22:00-07:00; none: at any time
    timezone     of the hours, for example Asia/Shanghai; empty: the machine's own
    max_load     most load that others may make (as `uptime` counts it), None: any
    min_idle_s   how long nobody must have used it before work begins
    on_battery   whether it works without mains
    presence     files whose change says that the owner is here
    """

    hours: tuple[str, ...] = ()
    timezone: str = ""
    max_load: float | None = 1.0
    min_idle_s: float = 300.0
    on_battery: bool = False
    presence: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.hours:
            period_of(text)
        zone_of(self.timezone)
        if not math.isfinite(self.min_idle_s) or self.min_idle_s < 0:
            raise RulesError("min_idle_s is a number of seconds, not negative")
        if self.max_load is not None and not self.max_load >= 0:
            raise RulesError("max_load is a number, not negative")

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> IdleRules:
        """Read the part `idle` of agent.json; raises RulesError or TypeError."""
        lists: dict[str, Any] = {name: tuple(document[name]) for name in ("hours", "presence") if name in document}
        return cls(**(document | lists))


def period_of(text: str) -> tuple[int, int]:
    """(start, end) of "22:00-07:00" in seconds of the day; raises RulesError."""
    found = HOURS.fullmatch(text)
    if found is None:
        raise RulesError(f"not a period of the day such as 22:00-07:00: {text!r}")
    start, end = (int(found[i]) * 3600 + int(found[i + 1]) * 60 for i in (1, 3))
    if start >= DAY_S or end > DAY_S or start == end:
        raise RulesError(f"not a period of the day: {text!r}")
    return start, end


def zone_of(name: str) -> ZoneInfo | None:
    """The time zone, None for the machine's own; raises RulesError."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RulesError(f"no such time zone: {name!r}") from None


def allowed_for_s(hours: tuple[str, ...], second: float) -> float | None:
    """Seconds of allowed time from this second of the day on: 0 outside the hours, None when they never end.

    >>> [allowed_for_s(("22:00-07:00",), hour * 3600) for hour in (21, 23, 6, 7)]
    [0.0, 28800.0, 3600.0, 0.0]
    """
    if not hours:
        return None
    at, total = second % DAY_S, 0.0
    periods = [period_of(text) for text in hours]
    for _ in range(len(periods) + 1):
        left = max((_rest(period, at) for period in periods), default=0.0)
        if left == 0:
            return total
        total, at = total + left, (at + left) % DAY_S
        if total >= DAY_S:
            return None
    return total


def _rest(period: tuple[int, int], at: float) -> float:
    """Seconds from `at` to the period's end; 0 when it is outside."""
    start, end = period
    length, since = (end - start) % DAY_S or DAY_S, (at - start) % DAY_S
    return length - since if since < length else 0.0


class Senses(Protocol):
    """What can be felt of the machine's use."""

    def marks(self) -> Hashable:
        """A value that is another one after the owner did something."""

    def load(self) -> float:
        """Load average of the last minute, ours included."""

    def on_battery(self) -> bool:
        """Whether it runs without mains."""


class LinuxSenses:
    """Terminals that were read from, the keyboard's interrupts, and files that the owner's own scripts touch."""

    def __init__(self, presence: tuple[str, ...] = ()) -> None:
        self.presence = presence

    def marks(self) -> Hashable:
        """Reading from a terminal moves its time of access; printing to it does not."""
        devices = [path for pattern in INPUT_DEVICES for path in glob.glob(pattern)]
        return (
            tuple((path, time_of(path, lambda it: it.st_atime_ns)) for path in sorted(devices)),
            tuple(time_of(path, lambda it: it.st_mtime_ns) for path in self.presence),
            keyboard_interrupts(),
        )

    def load(self) -> float:
        """As the kernel counts it."""
        return os.getloadavg()[0]

    def on_battery(self) -> bool:
        """A battery, and mains that are not connected."""
        kinds = [(read_word(one / "type"), read_word(one / "online")) for one in POWER.glob("*")]
        mains = [online for kind, online in kinds if kind in ("Mains", "USB") and online]
        return any(kind == "Battery" for kind, _ in kinds) and bool(mains) and "1" not in mains


def time_of(path: str, which: Callable[[os.stat_result], int]) -> int | None:
    """A time of a file, or None when it is not there."""
    try:
        return which(os.stat(path))
    except OSError:
        return None


def keyboard_interrupts() -> tuple[str, ...]:
    """Counts of the keyboard's and mouse's own interrupts, where the machine has such."""
    with contextlib.suppress(OSError):
        return tuple(line for line in INTERRUPTS.read_text().splitlines() if "i8042" in line)
    return ()


def read_word(path: Path) -> str:
    """A small file's text; empty when it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


@dataclass(slots=True)
class OwnLoad:
    """Our share of the load average: cores in use, damped over a minute exactly as the kernel damps the whole."""

    value: float = 0.0

    def feel(self, cores: float, seconds: float) -> float:
        """`cores` were in use during the last `seconds`."""
        self.value += (cores - self.value) * (1 - math.exp(-seconds / 60.0))
        return self.value


@dataclass(frozen=True, slots=True)
class View:
    """What a look means: `left_s` until the machine must be free (None: it may work), whether somebody is back, and `why`."""

    left_s: float | None
    owner_is_here: bool = False
    why: str = field(default="", compare=False)


@dataclass(slots=True)
class Watch:
    """Decides whether the machine may work now. Every sign of its owner starts the time of idleness anew."""

    rules: IdleRules
    senses: Senses
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = field(default=datetime.now)
    own: OwnLoad = field(default_factory=OwnLoad)
    seen_at: float = float("nan")
    looked_at: float = 0.0
    marks: Hashable = None
    sign: str = "it is not known for how long it has been idle"
    last: View = View(0.0)

    def look(self, busy_cores: float) -> View:
        """One look; `busy_cores` are those that we use. To be called several times a second."""
        now = self.clock()
        if math.isnan(self.seen_at):  # nobody knows what was before we began
            self.seen_at = self.looked_at = now
            self.marks = self.senses.marks()
        own = self.own.feel(busy_cores, now - self.looked_at)
        self.looked_at = now
        if sign := self._sign(own):
            self.seen_at, self.sign = now, sign
        self.last = self._view(now - self.seen_at)
        return self.last

    def _sign(self, own: float) -> str:
        """What says that the machine is in use; empty when nothing does."""
        before, self.marks = self.marks, self.senses.marks()
        if before != self.marks:
            return "somebody used it"
        if self.rules.max_load is not None and (others := self.senses.load() - own) > self.rules.max_load:
            return f"others' load was {others:.1f}, and {self.rules.max_load:g} is allowed"
        return "it was on battery" if not self.rules.on_battery and self.senses.on_battery() else ""

    def _view(self, idle_s: float) -> View:
        if idle_s < self.rules.min_idle_s or idle_s == 0:
            return View(0.0, owner_is_here=True, why=f"{self.sign}; it works {self.rules.min_idle_s:g} s after that")
        left = allowed_for_s(self.rules.hours, self._second_of_day())
        if left is None or left > NOTICE_S:
            return View(None)
        return View(left, why=f"it works {', '.join(self.rules.hours)}")

    def _second_of_day(self) -> float:
        zone = zone_of(self.rules.timezone)
        now = self.wall() if zone is None else self.wall().astimezone(zone)
        return now.hour * 3600 + now.minute * 60 + now.second
