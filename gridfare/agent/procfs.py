"""Processes as Linux shows them below /proc. Run as a program it is the guardian's body (see guardian.py): it needs the
standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass

PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
TICK_MS = 1000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Proc:
    """One process: its place in the tree, its memory in KiB, its processor time in milliseconds."""

    pid: int
    ppid: int
    group: int
    session: int
    state: str
    core_ms: int
    rss_kib: int


def read_file(path: str, size: int = 65536) -> bytes:
    """The beginning of a small file, without the cost of a file object."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def parse_stat(text: bytes) -> Proc:
    """A /proc/<pid>/stat line; the command name in it may hold spaces and brackets."""
    pid, _, rest = text.partition(b" (")
    words = rest.rpartition(b") ")[2].split()
    ticks = int(words[11]) + int(words[12])
    state = words[0].decode()
    return Proc(int(pid), int(words[1]), int(words[2]), int(words[3]), state, ticks * TICK_MS, int(words[21]) * PAGE_KIB)


def read_proc(pid: int) -> Proc | None:
    """One process, or None when it is gone."""
    try:
        return parse_stat(read_file(f"/proc/{pid}/stat"))
    except (OSError, ValueError, IndexError):
        return None


def snapshot() -> dict[int, Proc]:
    """Every process that can be seen."""
    found = (read_proc(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {proc.pid: proc for proc in found if proc is not None}


def family_of(procs: dict[int, Proc], roots: Iterable[int]) -> set[int]:
    """``roots`` that live and all that descend from them."""
    children: dict[int, list[int]] = {}
    for proc in procs.values():
        children.setdefault(proc.ppid, []).append(proc.pid)
    found: set[int] = set()
    pending = [pid for pid in roots if pid in procs]
    while pending:
        pid = pending.pop()
        if pid not in found:
            found.add(pid)
            pending.extend(children.get(pid, ()))
    return found


def children_of_self(threads: Iterable[int]) -> set[int]:
    """Direct children of this process that the kernel lists under ``threads`` (its thread ids)."""
    pids: set[int] = set()
    for thread in threads:
        with contextlib.suppress(OSError):
            pids.update(map(int, read_file(f"/proc/self/task/{thread}/children").split()))
    return pids


def environment_of(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it may not be read."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as reading:
        pairs = (item.partition(b"=") for item in reading.read().split(b"\0") if item)
        return {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs}
    return {}


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for this signal."""
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as reading:
        for line in reading:
            if line.startswith(b"SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def shared_memory_kib(pid: int) -> int | None:
    """Proportional memory of a process in KiB: what it shares is counted once among the sharers."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup", "rb") as reading:
        for line in reading:
            if line.startswith(b"Pss:"):
                return int(line.split()[1])
    return None


def send_signal(pid: int, number: int) -> None:
    """Signal one process; it may be gone or not ours."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def kill_marked(name: str, value: str, rounds: int = 50) -> int:
    """SIGKILL every process whose environment holds ``name=value``, with all descendants, until none is left.

    Returns how many were killed.
    """
    killed: set[int] = set()
    for _ in range(rounds):
        procs = {pid: proc for pid, proc in snapshot().items() if proc.state not in "ZX" and pid != os.getpid()}
        marked = [pid for pid in procs if environment_of(pid).get(name) == value]
        victims = family_of(procs, marked) - {os.getpid()}
        if not victims:
            break
        for pid in victims:
            send_signal(pid, signal.SIGKILL)
        killed |= victims
    return len(killed)


def kill_when_input_ends(name: str, value: str) -> None:
    """Wait for the end of stdin, then kill everything that carries ``name=value``."""
    while os.read(0, 4096):
        pass
    kill_marked(name, value)


if __name__ == "__main__":
    kill_when_input_ends(sys.argv[1], sys.argv[2])
