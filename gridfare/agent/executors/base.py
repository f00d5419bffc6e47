"""What every executor shares: the program's view of its files, its words and its environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gridfare.agent.capacity import Device
from gridfare.agent.guardian import MARK
from gridfare.agent.model import Lease, Spec

SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"
PRIVATE = ".gridfare"
"""Folder inside the working folder that is HOME and TMPDIR; never an output."""

BASE_PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
"""The interpreter behind the agent's own: what programs without an environment of their own run with."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything an executor needs to start one attempt; paths are the agent's own."""

    lease: Lease
    work: str
    program: Path | None
    environment: Path | None
    devices: list[Device]
    slot: int
    mark: str

    @property
    def spec(self) -> Spec:
        """What the unit has in common with its siblings."""
        return self.lease.spec


@dataclass(slots=True)
class Launch:
    """A command ready to start. The descriptors in ``pass_fds`` are closed by whoever starts it."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    pass_fds: tuple[int, ...] = ()
    status_fd: int | None = None
    """Reading end of bubblewrap's status; None when the process is the program itself."""
    overhead: int = 0
    """Processes of the executor itself, not counted against the program."""
    limit_from_outside: bool = False
    """Whether the agent sets resource limits on the process; otherwise the command does it."""


class Executor(Protocol):
    """Turns a job into a command; `name` is how the protocol calls it."""

    name: str

    def prepare(self, job: Job) -> None:
        """Last changes to the working folder, after its files are in place."""

    def launch(self, job: Job) -> Launch:
        """The command that runs the job."""


@dataclass(frozen=True, slots=True)
class View:
    """The folders as the program sees them."""

    work: str
    program: str | None
    python: str


def interpreter_of(environment: Path | None) -> str:
    """The interpreter of an environment, or the one that the agent's own was made from."""
    return BASE_PYTHON if environment is None else str(environment / "bin" / "python")


def words_of(job: Job, view: View) -> list[str]:
    """The command line: placeholders filled, the script found in the program's folder."""
    index, program = str(job.lease.index), view.program or ""
    words = [word.replace("{program}", program).replace("{index}", index) for word in job.spec.run]
    python = words[0] in ("python", "python3")
    if python:
        words = words[1:]
    if words and view.program and is_script(words[0]):
        python = python or words[0].endswith(".py")
        words[0] = f"{view.program}/{words[0]}"
    return [view.python, *words] if python else words


def is_script(word: str) -> bool:
    """Whether the first word means a file of the program rather than a command of the system."""
    return not word.startswith(("/", "-")) and (word.endswith(".py") or "/" in word)


def environment_of(job: Job, view: View) -> dict[str, str]:
    """The program's environment variables; the capability's own come first, ours cannot be replaced."""
    private = f"{view.work}/{PRIVATE}"
    env = {
        **common_environment(job, view),
        "HOME": private,
        "TMPDIR": private,
        "GRIDFARE_INDEX": str(job.lease.index),
        "GRIDFARE_ATTEMPT": job.lease.key,
        MARK: job.mark,
    }
    if job.lease.resume:
        env["GRIDFARE_RESUMED"] = "1"
    if job.spec.need.accelerators:
        visible = ",".join(str(device.index) for device in job.devices)
        env.update({"CUDA_VISIBLE_DEVICES": visible, "ASCEND_RT_VISIBLE_DEVICES": visible})
    return env


def common_environment(job: Job, view: View) -> dict[str, str]:
    """The part that all units of a spec share."""
    spec = job.spec
    env = {
        "LANG": "C.UTF-8",
        "PATH": f"{os.path.dirname(view.python)}:{SEARCH_PATH}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": str(max(spec.need.cores, 1)),
        **spec.env,
        "USER": "task",
        "LOGNAME": "task",
        "GRIDFARE_TASK": spec.task,
        "GRIDFARE_STAGE": spec.stage,
        "GRIDFARE_TOTAL": str(spec.total),
    }
    if view.program:
        env["GRIDFARE_PROGRAM"] = view.program
        env["PYTHONPATH"] = ":".join(filter(None, [view.program, env.get("PYTHONPATH", "")]))
    return env


@dataclass(slots=True)
class Exit:
    """How a program ended and what it took.

    ``cause`` is the code of the limit or order that ended it; None when it ended by itself.
    """

    code: int | None = None
    signal: int | None = None
    cause: str | None = None
    detail: str = ""
    started: bool = True
    wall_ms: int = 0
    core_ms: int = 0
    peak_kib: int = 0
    memory_kib_ms: int = 0
    tail: bytes = field(default=b"")
