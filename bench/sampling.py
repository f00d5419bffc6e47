"""What processes take while something is measured: resident memory at its peak, processor time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

PAUSE_S = 0.25


@dataclass
class Taken:
    """By name of a process and its children together: peak memory of the largest one in MiB, processor seconds."""

    peak_mib: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    others_s: float = 0.0  # what everything else on the machine used meanwhile
    wall_s: float = 0.0
    _cpu: dict[psutil.Process, tuple[str, float, float]] = field(default_factory=dict)

    def look(self, roots: dict[str, int]) -> None:
        """One sample of every process below the roots."""
        for name, pid in roots.items():
            with suppress(psutil.Error):
                root = psutil.Process(pid)
                for process in [root, *root.children(recursive=True)]:
                    self._look_at(name, process)
        self.cpu_s = {}
        for name, first, last in self._cpu.values():
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + last - first

    def document(self) -> dict[str, object]:
        """As JSON values."""
        return {"peak_mib": self.peak_mib, "cpu_s": self.cpu_s, "others_s": self.others_s}

    def _look_at(self, name: str, process: psutil.Process) -> None:
        with suppress(psutil.Error), process.oneshot():
            times = process.cpu_times()
            used = float(times.user + times.system)
            if name != "postgres":  # whose children live long enough to be seen; others start programs too short for that
                used += float(times.children_user + times.children_system)
            self.peak_mib[name] = max(self.peak_mib.get(name, 0.0), process.memory_info().rss / 2**20)
            _, first, _ = self._cpu.get(process, (name, used, used))
            self._cpu[process] = (name, first, used)


@contextmanager
def sampled(roots: dict[str, int]) -> Iterator[Taken]:
    """Samples the processes with these pids, and their children, a few times a second while the block runs."""
    taken, over = Taken(), threading.Event()
    began, busy = time.monotonic(), _busy()
    taken.look(roots)

    def watch() -> None:
        while not over.wait(PAUSE_S):
            taken.look(roots)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()
        taken.look(roots)
        taken.wall_s = time.monotonic() - began
        taken.others_s = max(_busy() - busy - sum(taken.cpu_s.values()), 0.0)


def _busy() -> float:
    """Seconds that all cores together have been busy so far."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)
