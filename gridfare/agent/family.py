"""Processes that are left to the agent: it adopts orphans of its programs, so that none gets away."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import threading

from gridfare.agent import procfs

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> bool:
    """Make this process the parent of every orphan below it; False where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


async def until_exit(pid: int, timeout_s: float) -> bool:
    """Wait until a child has ended (it stays to be reaped); False when it still runs after ``timeout_s``."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), timeout_s)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return True


class Family:
    """Direct children of the agent: those it started (`known`) and those it inherited."""

    def __init__(self) -> None:
        self.threads = {threading.main_thread().native_id or os.getpid(), threading.get_native_id()}
        self.known = procfs.children_of_self(self.threads)
        self.session = os.getsid(0)

    def strangers(self) -> set[int]:
        """Inherited children; cheap, as the kernel keeps the list."""
        return procfs.children_of_self(self.threads) - self.known

    def orphans_of(self, group: int, attempt: str, members: set[int]) -> set[int]:
        """Strangers that come from one attempt (``members`` are known to), and those that hide their origin."""
        return {pid for pid in self.strangers() if pid in members or self._belongs(pid, group, attempt)}

    def _belongs(self, pid: int, group: int, attempt: str) -> bool:
        proc = procfs.read_proc(pid)
        if proc is None or group in (proc.group, proc.session):
            return True
        if proc.session == self.session:  # started by whoever runs us: programs have sessions of their own
            return False
        return procfs.environment_of(pid).get("GRIDFARE_ATTEMPT", attempt) == attempt

    async def bury(self, pids: set[int], timeout_s: float = 2.0) -> list[resource.struct_rusage]:
        """Kill orphans, reap those that end in time, and say what they used; their children are then orphans."""
        for pid in pids:
            procfs.send_signal(pid, signal.SIGKILL)
        return [usage for pid in pids if (usage := await self._reap(pid, timeout_s)) is not None]

    async def _reap(self, pid: int, timeout_s: float) -> resource.struct_rusage | None:
        with contextlib.suppress(ChildProcessError):
            reaped, _, usage = os.wait4(pid, os.WNOHANG)
            if not reaped and await until_exit(pid, timeout_s):
                reaped, _, usage = os.wait4(pid, os.WNOHANG)
            return usage if reaped else None
        return None
