"""Looks at all running programs together: one reading of /proc serves every unit."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor as Threads
from dataclasses import dataclass

from gridfare.agent import procfs
from gridfare.agent.child import Child
from gridfare.agent.files import disk_usage
from gridfare.agent.model import MIB

CALM_S, HOT_S = 0.25, 0.05
ENTRY_BYTES = 512
"""What an entry of a folder costs at least, so that a million empty files count too."""


@dataclass(slots=True)
class Watched:
    """A program and the state of the look at its folder."""

    child: Child
    folder: str
    disk_due: float = 0.0
    disk_share: float = 0.0
    looking: bool = False


class Watchdog:
    """Samples memory, processes and folders of attended programs, more often when one comes near a limit."""

    def __init__(self, threads: Threads) -> None:
        self.threads = threads
        self.watched: dict[str, Watched] = {}
        self.lookers: set[asyncio.Task[None]] = set()
        self.busy = asyncio.Event()

    def watch(self, child: Child, folder: str) -> None:
        """Look after this program until `forget`."""
        self.watched[child.attempt] = Watched(child, folder)
        self.busy.set()

    def forget(self, child: Child) -> None:
        """The program has ended."""
        self.watched.pop(child.attempt, None)

    async def run(self) -> None:
        """Look until cancelled; sleeps while no program is long enough to be looked at."""
        interval = HOT_S
        while True:
            await self.busy.wait()
            await asyncio.sleep(interval)
            interval = self.look()
            if not self.watched:
                self.busy.clear()
                interval = HOT_S

    def look(self) -> float:
        """One round; returns the seconds until the next, at least twenty times what this one cost."""
        began = time.monotonic()
        living = [item for item in self.watched.values() if not item.child.ended.done()]
        for item in living:
            item.child.check_time(began)
        attended = [item for item in living if item.child.attended]
        if not attended:
            return HOT_S
        self._sample(attended, began)
        hot = any(item.child.is_hot() or item.disk_share > 0.4 for item in attended)
        calm = CALM_S if len(attended) == len(living) and not hot else HOT_S
        soonest = min(item.child.started_at + item.child.limits.run_s for item in living) - began
        return max(min(calm, max(soonest, 0.01)), 20 * (time.monotonic() - began))

    def _sample(self, attended: list[Watched], now: float) -> None:
        procs = procfs.snapshot()
        for item in attended:
            item.child.sample(procs, now)
            if not item.looking and now >= item.disk_due:
                item.looking = True
                task = asyncio.get_running_loop().create_task(self._look_at_folder(item))
                self.lookers.add(task)
                task.add_done_callback(self.lookers.discard)

    async def _look_at_folder(self, item: Watched) -> None:
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        used, entries = await loop.run_in_executor(self.threads, disk_usage, item.folder)
        limit = item.child.limits.disk_mib * MIB
        item.disk_share = (used + entries * ENTRY_BYTES) / max(limit, 1)
        if item.disk_share > 1:
            item.child.kill("disk_limit", f"more than {item.child.limits.disk_mib} MiB in its folder")
        item.disk_due = time.monotonic() + 20 * (time.monotonic() - began)
        item.looking = False
