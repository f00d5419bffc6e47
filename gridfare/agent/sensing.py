"""What the machine feels: load, what is free, warmth, power, and which large files lie in its cache."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gridfare.agent import procfs
from gridfare.agent.cache import Cache
from gridfare.agent.capacity import Capacity
from gridfare.agent.model import MIB

LARGE_BYTES = 100_000_000
MOST_CACHED = 200
LOOK_S, REPEAT_S = 5.0, 60.0
"""Seconds between two looks, and after which the same is told again."""
THERMAL = Path("/sys/class/thermal")
POWERCAP = Path("/sys/class/powercap")
Status = dict[str, Any]


def read_number(path: Path) -> int | None:
    """A small file that holds a whole number, or None."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def temperature_c(folder: Path = THERMAL) -> int | None:
    """The warmest zone, in °C; None where nothing is measured."""
    found = [read_number(one / "temp") for one in folder.glob("thermal_zone*")]
    sane = [value // 1000 for value in found if value is not None and 0 < value < 150_000]
    return max(sane, default=None)


def memory_available_mib() -> int:
    """What the kernel could give to programs now."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in procfs.read_file("/proc/meminfo").splitlines():
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) // 1024
    return 0


def busy_ms() -> int:
    """Processor time that the whole machine has spent on anything but waiting."""
    words = procfs.read_file("/proc/stat").split(b"\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, softirq, steal = (int(word) for word in words)
    return (user + nice + system + irq + softirq + steal) * procfs.TICK_MS


@dataclass(slots=True)
class Meter:
    """The processors' own energy counters (RAPL): whole packages, in joules since the agent began. They wrap around."""

    folder: Path = POWERCAP
    zones: list[Path] = field(default_factory=list)
    last: dict[Path, int] = field(default_factory=dict)
    micro_joules: int = 0

    def __post_init__(self) -> None:
        """Packages are `intel-rapl:0`, `intel-rapl:1` ...; zones below them are parts of them."""
        packages = [one for one in sorted(self.folder.glob("intel-rapl:*")) if one.name.count(":") == 1]
        self.zones = [zone for zone in packages if read_number(zone / "energy_uj") is not None]
        self.read()

    def read(self) -> float | None:
        """Joules so far; None where there are no counters, or none that we may read."""
        for zone in self.zones:
            now = read_number(zone / "energy_uj")
            if now is None:
                continue
            before = self.last.get(zone, now)
            span = read_number(zone / "max_energy_range_uj") or 0
            self.micro_joules += now - before if now >= before else max(now + span - before, 0)
            self.last[zone] = now
        return self.micro_joules / 1e6 if self.zones else None


@dataclass(frozen=True, slots=True)
class Begun:
    """Energy and busy time when an attempt began."""

    joules: float
    busy_ms: int


@dataclass(slots=True)
class Energy:
    """An attempt's share of the machine's energy: as its processor time to that of everybody meanwhile."""

    meter: Meter = field(default_factory=Meter)

    def begin(self) -> Begun | None:
        """None where nothing is measured."""
        joules = self.meter.read()
        return None if joules is None else Begun(joules, busy_ms())

    def share(self, begun: Begun | None, core_ms: int) -> int:
        """Whole joules since `begun`; 0 where nothing is measured."""
        joules = self.meter.read()
        if begun is None or joules is None:
            return 0
        busy = max(busy_ms() - begun.busy_ms, core_ms, 1)
        return round((joules - begun.joules) * core_ms / busy)


@dataclass(slots=True)
class Sensing:
    """Looks now and then, and says what there is to tell: something new, or the same after a minute."""

    home: Path
    cache: Cache
    capacity: Callable[[], Capacity]
    meter: Meter
    looked_at: float = float("-inf")
    told_at: float = float("-inf")
    told: Status | None = None
    waiting: Status | None = None
    looked: Status = field(default_factory=dict)
    power_from: tuple[float, float] | None = None

    def news(self) -> Status | None:
        """The status for the next call, or None when there is nothing to say."""
        now = time.monotonic()
        if self.waiting is None and now - self.looked_at >= LOOK_S:
            self.looked_at = now
            self.looked = self.look(now)
            if now - self.told_at >= REPEAT_S or self.told is None:
                self.waiting = self.looked
            elif self.looked != self.told:  # what it holds changes seldom and is long
                same = self.looked["cache"] == self.told["cache"]
                self.waiting = {k: v for k, v in self.looked.items() if not (same and k == "cache")}
        return self.waiting

    def heard(self) -> None:
        """The platform has answered a call that carried the status."""
        if self.waiting is not None:
            if "cache" in self.waiting:
                self.told_at = time.monotonic()
            self.told, self.waiting = self.looked, None

    def look(self, now: float) -> Status:
        """Everything that is known now; what the machine does not measure is left out."""
        free = self.capacity()
        found = {
            "load1": round(os.getloadavg()[0], 1),
            "free_cores": free.cores,
            "free_memory_mib": max(min(free.memory_mib, memory_available_mib()), 0),
            "free_disk_mib": shutil.disk_usage(self.home).free // MIB,
            "temperature_c": temperature_c(),
            "power_w": self._power(now),
            "cache": [{"sha256": sha, "bytes": size} for sha, size in large_blobs(self.cache)],
        }
        return {name: value for name, value in found.items() if value is not None}

    def _power(self, now: float) -> int | None:
        """Mean power since the look before."""
        joules = self.meter.read()
        before, self.power_from = self.power_from, None if joules is None else (now, joules)
        if joules is None or before is None or now <= before[0]:
            return None
        return round((joules - before[1]) / (now - before[0]))


def large_blobs(cache: Cache) -> list[tuple[str, int]]:
    """The largest contents that a cache holds, largest first: (sha256, bytes)."""
    found = []
    for path in cache.folder.glob("??/*"):
        with contextlib.suppress(OSError):
            size = path.stat().st_size
            if size > LARGE_BYTES and not path.suffix:
                found.append((path.name, size))
    return sorted(found, key=lambda one: (-one[1], one[0]))[:MOST_CACHED]
