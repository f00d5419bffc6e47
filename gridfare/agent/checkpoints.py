"""Checkpoints of a running program: asked for, looked for, copied aside, stored, told to the platform.

The program renames a finished file into its place, so that what lies there is always whole; here it is copied before it is
hashed and sent, because the program goes on meanwhile. A set of files that changes under our hands is taken at the next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor as Threads
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gridfare.agent import log, procfs
from gridfare.agent.child import Child
from gridfare.agent.files import open_file_beneath, remove_tree, write_all
from gridfare.agent.model import CheckpointRule, Lease
from gridfare.agent.outputs import matches, regular_files
from gridfare.agent.protocol import Channel, ProtocolError, Unreachable
from gridfare.agent.reasons import AttemptEnded
from gridfare.agent.transfer import Transfer

DOOR = "/agent/v1/checkpoints"
PLEASE = "checkpoint-please"
LOOK_S = 0.1
FINISH_S = 30.0
"""How long a last checkpoint may take to be stored after its program has ended."""
MOST_FILES = 1_000
State = dict[str, tuple[int, int, int]]
"""Path → (size, time of change in ns, inode): what makes one state of a program's files differ from another."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A file of a checkpoint, copied aside."""

    path: str
    aside: Path
    bytes: int
    sha256: str


@dataclass(slots=True)
class Desk:
    """What every saver needs: the ways to the platform, threads, and room to copy to."""

    channel: Channel
    transfer: Transfer
    threads: Threads
    folder: Path


@dataclass(slots=True)
class Saver:
    """Looks after one program's checkpoints. Lives in the event loop's thread; copies and uploads run in others.

    ``claim`` gives the usage so far. ``given_up`` ends uploads between two pieces.
    """

    lease: Lease
    work: str
    child: Child
    desk: Desk
    claim: Callable[[], dict[str, Any]]
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    saved: State = field(default_factory=dict)
    asked: bool = False
    given_up: bool = False
    number: int = 0

    @property
    def rule(self) -> CheckpointRule:
        """What the capability declares; a saver exists only where it does."""
        assert self.lease.spec.checkpoint is not None
        return self.lease.spec.checkpoint

    def ask(self) -> None:
        """Tell the program that its machine goes away: a file, and SIGUSR1 to whoever catches it. Nobody dies of it."""
        if self.asked:
            return
        self.asked = True
        with contextlib.suppress(OSError):
            descriptor = os.open(f"{self.work}/{PLEASE}", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                write_all(descriptor, b"please\n")
            finally:
                os.close(descriptor)
        signal_who_listens(self.child)
        self.wake.set()

    def unask(self) -> None:
        """The machine stays after all."""
        if self.asked:
            self.asked = False
            with contextlib.suppress(OSError):
                os.unlink(f"{self.work}/{PLEASE}")

    async def run(self) -> None:
        """Until cancelled: save every ``every_s``, and soon after each change once it was asked for."""
        due = time.monotonic() + self.rule.every_s
        while True:
            self.wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), LOOK_S if self.asked else max(due - time.monotonic(), LOOK_S))
            if self.asked or time.monotonic() >= due:
                await self.save()
                due = max(due, time.monotonic() + self.rule.every_s) if time.monotonic() >= due else due

    async def finish(self, task: asyncio.Task[None], last: bool) -> None:
        """The program has ended. ``last``: store what it left, in bounded time; otherwise let everything go at once."""
        self.given_up = not last
        while not task.done():  # once is not always enough: a wait that ends in the same moment keeps a cancellation to itself
            task.cancel()
            await asyncio.wait({task}, timeout=1)
        if not task.cancelled():
            task.result()
        if last:
            try:
                await asyncio.wait_for(self.save(), FINISH_S)
            except TimeoutError:
                self.given_up = True

    async def save(self) -> None:
        """Store the program's files as they are now, when they are others than those stored last."""
        loop = asyncio.get_running_loop()
        aside = self.desk.folder / f"{self.lease.key}-{self.number}"
        self.number += 1
        try:
            state = await loop.run_in_executor(self.desk.threads, state_of, self.work, self.rule)
            if not state or state == self.saved:
                return
            claim = self.claim()
            files = await loop.run_in_executor(self.desk.threads, self._copy, state, aside)
            if files is not None:
                await loop.run_in_executor(self.desk.threads, self._upload, files)
                await self._tell(files, claim)
                self.saved = state
        except (OSError, AttemptEnded, ProtocolError, Unreachable) as problem:
            log.warning("a checkpoint is not stored", attempt=self.lease.attempt, why=problem)
        finally:
            if aside.exists():
                await loop.run_in_executor(None, remove_tree, aside)

    def _copy(self, state: State, aside: Path) -> list[Copied] | None:
        """Copies of exactly this state; None when the program changed something meanwhile."""
        aside.mkdir(parents=True)
        root = os.open(self.work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            copies = [copy_aside(root, path, aside / str(number)) for number, path in enumerate(state)]
        except (FileNotFoundError, ValueError):
            return None
        finally:
            os.close(root)
        return copies if state_of(self.work, self.rule) == state else None

    def _upload(self, files: list[Copied]) -> None:
        scope = f"{self.lease.attempt}/{self.lease.fence}"
        for file in files:

            def opened(path: Path = file.aside) -> int:
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

            self.desk.transfer.upload(scope, file.sha256, file.bytes, opened, lambda: self.given_up)

    async def _tell(self, files: list[Copied], claim: dict[str, Any]) -> None:
        listed = [{"path": file.path, "sha256": file.sha256, "bytes": file.bytes} for file in files]
        item = {"attempt": self.lease.attempt, "fence": self.lease.fence, "files": listed, "usage": claim}
        answer = await self.desk.channel.post(DOOR, json.dumps({"checkpoints": [item]}).encode(), 30)
        for _, _, code in answer.get("refused") or ():
            if code == "unchanged":  # as good as stored: an earlier attempt did it
                continue
            raise ProtocolError(409, str(code), "the platform does not keep it")


def state_of(work: str, rule: CheckpointRule) -> State:
    """The files below a working folder that a checkpoint would hold now."""
    root = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        paths = [path for path in regular_files(root) if any(matches(pattern, path) for pattern in rule.paths)]
        stats = {path: os.stat(path, dir_fd=root, follow_symlinks=False) for path in paths[:MOST_FILES]}
        return {path: (it.st_size, it.st_mtime_ns, it.st_ino) for path, it in stats.items()}
    finally:
        os.close(root)


def copy_aside(root: int, path: str, target: Path) -> Copied:
    """Copy and hash one file in one reading."""
    digest, size = hashlib.sha256(), 0
    with os.fdopen(open_file_beneath(root, path), "rb") as reading, open(target, "xb") as writing:
        while piece := reading.read(1 << 20):
            digest.update(piece)
            writing.write(piece)
            size += len(piece)
    return Copied(path, target, size, digest.hexdigest())


def signal_who_listens(child: Child) -> None:
    """SIGUSR1 to those processes of the program that have a handler for it: by default it would end them."""
    procs = procfs.snapshot()
    roots = [pid for pid, proc in procs.items() if child.pid in (proc.session, proc.group)]
    for pid in procfs.family_of(procs, [child.pid, *roots, *child.members]):
        if procfs.catches(pid, signal.SIGUSR1):
            procfs.send_signal(pid, signal.SIGUSR1)
