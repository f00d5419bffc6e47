"""One running program: started, listened to, measured, ended with everything that it started."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from gridfare.agent import procfs
from gridfare.agent.executors.base import Exit, Launch
from gridfare.agent.executors.sandbox import data_limit_bytes
from gridfare.agent.family import Family
from gridfare.agent.model import MIB, Limits

Feed = Callable[[str, bytes], None]
ATTEND_AFTER_S = 0.02
"""Programs shorter than this are not watched: their pipes hold what they print, their end tells what they used."""
PIPE_BYTES = 256 * 1024
THROTTLE_S = 0.004


class Child:
    """A program from start to end. `start` and `wait` belong to the event loop's thread."""

    def __init__(self, attempt: str, launch: Launch, limits: Limits, feed: Feed, family: Family) -> None:
        self.attempt, self.launch, self.limits, self.feed, self.family = attempt, launch, limits, feed, family
        self.exit = Exit()
        self.members: set[int] = set()
        self.pid = 0
        self.started_at = self.sampled_at = 0.0
        self.last_kib = 0
        self.seen_core_ms = 0
        """Processor time of those who live, as of the last look: what a checkpoint claims."""
        self.fed = 0
        self.attended = False
        self.pipes: dict[str, int] = {}
        self.grace: asyncio.TimerHandle | None = None
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()

    def start(self) -> None:
        """Start the program; raises OSError when it cannot be."""
        reads, writes = self._open_pipes()
        try:
            process = self._spawn(*writes)
        except OSError:
            self._close(*reads, self.launch.status_fd)
            raise
        finally:
            self._close(*writes, *self.launch.pass_fds)
        self.process, self.pid = process, process.pid
        self.family.known.add(self.pid)
        self.pipes = dict(zip(("stdout", "stderr"), reads, strict=True))
        self.started_at = self.sampled_at = time.monotonic()
        if self.launch.limit_from_outside:
            self._limit()
        self.pidfd = os.pidfd_open(self.pid)
        self.loop.add_reader(self.pidfd, self._on_exit)

    def _open_pipes(self) -> tuple[list[int], list[int]]:
        pairs = [os.pipe(), os.pipe()]
        for reading, _ in pairs:
            fcntl.fcntl(reading, fcntl.F_SETFL, os.O_NONBLOCK)
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    def _spawn(self, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
        """No preexec_fn and no descriptor sweep: Python then uses vfork, whose cost does not grow with our size."""
        return subprocess.Popen(
            self.launch.argv,
            env=self.launch.env,
            cwd=self.launch.cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            close_fds=bool(self.launch.pass_fds),
            pass_fds=self.launch.pass_fds,
        )

    def _limit(self) -> None:
        """Limits from outside: the program may have run for some microseconds, the watchdog covers those."""
        sizes = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: self.limits.file_mib * MIB,
            resource.RLIMIT_DATA: data_limit_bytes(self.limits),
        }
        for kind, size in sizes.items():
            with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
                resource.prlimit(self.pid, kind, (size, size))

    def check_time(self, now: float) -> None:
        """Attend a program that is not a short one, and end it when its time is over."""
        age = now - self.started_at
        if age > self.limits.run_s:
            self.stop("time_limit", f"ran longer than {self.limits.run_s} s")
        elif not self.attended and age > ATTEND_AFTER_S:
            self.attended = True
            for name, pipe in self.pipes.items():
                self.loop.add_reader(pipe, self._on_output, name, pipe)

    def _on_output(self, name: str, pipe: int) -> None:
        """Take what it printed; a stream far beyond its quota is read slowly, so that it cannot keep us busy."""
        try:
            data = os.read(pipe, PIPE_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.loop.remove_reader(pipe)
            return
        self.feed(name, data)
        self.fed += len(data)
        if self.fed > self.limits.log_kib * 4096 + MIB:
            self._throttle(name, pipe)

    def _throttle(self, name: str, pipe: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.loop.remove_reader(pipe)
        self.loop.call_later(THROTTLE_S, self._listen_again, name, pipe)

    def _listen_again(self, name: str, pipe: int) -> None:
        if pipe in self.pipes.values():
            self.loop.add_reader(pipe, self._on_output, name, pipe)

    def sample(self, procs: dict[int, procfs.Proc], now: float) -> None:
        """Take one look at the whole tree: memory, processor time, number of processes."""
        roots = [pid for pid, proc in procs.items() if self.pid in (proc.session, proc.group)]
        self.members = procfs.family_of(procs, [self.pid, *roots, *self.members])
        kib = sum(procs[pid].rss_kib for pid in self.members)
        self.exit.memory_kib_ms += int((kib + self.last_kib) / 2 * (now - self.sampled_at) * 1000)
        self.exit.peak_kib = max(self.exit.peak_kib, kib)
        self.last_kib, self.sampled_at = kib, now
        self.seen_core_ms = max(self.seen_core_ms, sum(procs[pid].core_ms for pid in self.members))
        self._check_processes(procs)
        self._check_memory(kib)

    def _check_processes(self, procs: dict[int, procfs.Proc]) -> None:
        living = sum(procs[pid].state not in "ZX" for pid in self.members) - self.launch.overhead
        if living > self.limits.processes:
            self.kill("process_limit", f"more than {self.limits.processes} processes")

    def _check_memory(self, kib: int) -> None:
        """Shared pages count for every process that maps them, so a second, exact look comes before the end."""
        limit_kib = self.limits.memory_mib * 1024
        if kib <= limit_kib:
            return
        exact = [procfs.shared_memory_kib(pid) for pid in self.members]
        if None in exact or sum(filter(None, exact)) > limit_kib:
            self.kill("memory_limit", f"more than {self.limits.memory_mib} MiB of memory")

    def is_hot(self) -> bool:
        """Whether it comes near a limit and has to be looked at more often."""
        return self.last_kib > self.limits.memory_mib * 400 or len(self.members) - self.launch.overhead > self.limits.processes // 2

    def stop(self, cause: str, detail: str = "") -> None:
        """Ask the program to end, and end it after its grace."""
        if self.ended.done() or self.exit.cause is not None:
            return
        self._blame(cause, detail)
        procs = procfs.snapshot()
        roots = [pid for pid, proc in procs.items() if proc.session == self.pid]
        family = procfs.family_of(procs, [self.pid, *roots, *self.members])
        wrapper = {self.pid} if self.launch.status_fd is not None else set()
        for pid in family - wrapper:
            procfs.send_signal(pid, signal.SIGTERM)
        self.grace = self.loop.call_later(self.limits.grace_s, self.kill, cause, detail)

    def kill(self, cause: str, detail: str = "") -> None:
        """End the whole group at once; what left the group is found when the program has ended."""
        if self.ended.done():
            return
        self._blame(cause, detail)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in self.members:
            procfs.send_signal(pid, signal.SIGKILL)

    def _blame(self, cause: str, detail: str) -> None:
        if self.exit.cause is None:
            self.exit.cause, self.exit.detail = cause, detail

    def _on_exit(self) -> None:
        """The program itself has ended: take its group down before its number can be given to another."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        self.exit.wall_ms = max(1, round((time.monotonic() - self.started_at) * 1000))
        code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.exit.code, self.exit.signal = (code, None) if code >= 0 else (None, -code)
        self._add(usage)
        self.loop.remove_reader(self.pidfd)
        os.close(self.pidfd)
        self.family.known.discard(self.pid)
        if self.grace is not None:
            self.grace.cancel()
        self.ended.set_result(None)

    def _add(self, usage: resource.struct_rusage) -> None:
        self.exit.core_ms += round((usage.ru_utime + usage.ru_stime) * 1000)

    async def wait(self) -> Exit:
        """Wait for the end of the program and of everything it left behind."""
        await self.ended
        if self.launch.status_fd is not None:
            self._read_status(self.launch.status_fd)
        if self.family.strangers() or self.members - {self.pid}:
            await self._clear()
        self._drain()
        return self.exit

    async def _clear(self) -> None:
        """Kill what left the group, and count what it used."""
        for _ in range(200):
            orphans = self.family.orphans_of(self.pid, self.attempt, self.members)
            living = self._strays() - orphans
            for pid in living:
                procfs.send_signal(pid, signal.SIGKILL)
            usages = await self.family.bury(orphans)
            for usage in usages:
                self._add(usage)
            if not orphans and not living:
                return
            if len(usages) < len(orphans) or living:
                await asyncio.sleep(0.01)

    def _strays(self) -> set[int]:
        """Members known from the last look that still live; their numbers may have been given away since."""
        found = set()
        for pid in self.members - {self.pid}:
            proc = procfs.read_proc(pid)
            marked = proc is not None and proc.state not in "ZX"
            if marked and procfs.environment_of(pid).get("GRIDFARE_ATTEMPT") == self.attempt:
                found.add(pid)
        return found

    def _drain(self) -> None:
        """Read what is left in the pipes, not waiting for whoever may still hold the other end."""
        for name, pipe in self.pipes.items():
            if self.attended:
                self.loop.remove_reader(pipe)
            with contextlib.suppress(BlockingIOError):
                while (data := os.read(pipe, PIPE_BYTES)) and self.fed < self.limits.log_kib * 4096 + 16 * MIB:
                    self.feed(name, data)
                    self.fed += len(data)
            os.close(pipe)
        self.pipes = {}

    def _read_status(self, descriptor: int) -> None:
        """What bubblewrap says: without an exit code it never came to start the program."""
        os.set_blocking(descriptor, False)
        text = b""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(descriptor, 65536):
                text += data
        os.close(descriptor)
        documents = [read_status_line(line) for line in text.splitlines()]
        self.members.update(int(item["child-pid"]) for item in documents if "child-pid" in item)
        codes = [int(item["exit-code"]) for item in documents if "exit-code" in item]
        if self.exit.cause is None:
            self.exit.started = bool(codes)
            self.exit.code, self.exit.signal = split_code(codes[0] if codes else None)

    def _close(self, *descriptors: int | None) -> None:
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)


def read_status_line(line: bytes) -> dict[str, Any]:
    """One JSON document of bubblewrap's status; empty when it is not one."""
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def split_code(code: int | None) -> tuple[int | None, int | None]:
    """Exit code and signal from the number that stands for both in a shell."""
    return (None, code - 128) if code is not None and 128 < code < 193 else (code, None)
