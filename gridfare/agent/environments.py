"""Virtual environments for pinned requirements: built once by digest, shared by attempts, never half built.

Only wheels are installed, and every line must be a pinned name with hashes: a requirements file can then neither run
code on this machine nor send pip anywhere else.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gridfare.agent import log
from gridfare.agent.cache import digest_of
from gridfare.agent.child import Child
from gridfare.agent.executors.base import Exit, Launch, interpreter_of
from gridfare.agent.family import Family
from gridfare.agent.files import remove_tree, write_atomically
from gridfare.agent.model import Environment, Limits
from gridfare.agent.reasons import AttemptEnded, one_line

FORGET_FAILURE_S = 60.0
BUILD_LIMITS = Limits(run_s=1800, memory_mib=1 << 20, file_mib=1 << 14, log_kib=256)
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
PINNED = re.compile(
    rf"{NAME}(?:\[{NAME}(?:\s*,\s*{NAME})*\])?\s*==\s*[A-Za-z0-9.!+_-]+\s*"
    r"(?:;(?:(?!\s-)[\w\s.'\"<>=!~(),*+-])*?)?(?:\s+--hash=sha256:[0-9a-f]{64})+",
    re.ASCII,
)
NOT_THE_NETWORK = ("DO NOT MATCH THE HASHES", "No matching distribution", "ResolutionImpossible", "conflicting depend")
NETWORK = ("ConnectionError", "Connection broken", "Temporary failure", "timed out", "Max retries", "HTTP error")


def logical_lines(requirements: str) -> list[str]:
    """Lines with their continuations joined, without comments and empty ones."""
    joined = re.sub(r"\\\r?\n", " ", requirements)
    lines = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line]


def check_requirements(requirements: str) -> None:
    """Raise AttemptEnded unless every line is ``name==version --hash=sha256:...`` (extras and markers allowed)."""
    for line in logical_lines(requirements):
        if not PINNED.fullmatch(line):
            why = f"not a pinned requirement with hashes: {one_line(line, 120)}"
            raise AttemptEnded("environment_failed", why, "capability_error")


class Environments:
    """Environments below one folder. All calls come from the event loop's thread."""

    def __init__(self, folder: Path, family: Family, mark: str) -> None:
        self.folder, self.family, self.mark = folder, family, mark
        self.building: dict[str, asyncio.Task[Path]] = {}
        self.failures: dict[str, tuple[float, AttemptEnded]] = {}

    async def get(self, environment: Environment, note: Callable[[str], None]) -> Path:
        """The folder of an environment, built if it is not here; several callers wait for one build.

        ``note`` is told how the build went. Raises AttemptEnded with environment_failed; a failure is remembered
        for a minute.
        """
        name = digest_of(f"{sys.version}\n{environment.requirements}")
        target = self.folder / name
        if (target / ".ready").exists():
            return target
        failed_at, failure = self.failures.get(name, (0.0, None))
        if failure and time.monotonic() - failed_at < FORGET_FAILURE_S:
            raise failure
        if name not in self.building:
            task = asyncio.create_task(self._build(name, target, environment.requirements, note))
            self.building[name] = task
            task.add_done_callback(lambda _: self.building.pop(name, None))
        return await asyncio.shield(self.building[name])

    def break_off(self) -> None:
        """End what is being built; it is begun anew when somebody needs it again."""
        for task in list(self.building.values()):
            task.cancel()

    async def _build(self, name: str, target: Path, requirements: str, note: Callable[[str], None]) -> Path:
        began = time.monotonic()
        try:
            check_requirements(requirements)
            await self._install(name, target, requirements, note)
        except AttemptEnded as problem:
            self.failures[name] = (time.monotonic(), problem)
            await asyncio.to_thread(remove_tree, target)
            raise
        write_atomically(target / ".ready", b"")
        log.info("environment built", digest=name[:12], seconds=round(time.monotonic() - began, 1))
        return target

    async def _install(self, name: str, target: Path, requirements: str, note: Callable[[str], None]) -> None:
        """What a killed agent left half built lacks `.ready` and is made anew."""
        await asyncio.to_thread(remove_tree, target)
        has_pip = importlib.util.find_spec("pip") is not None
        venv = [interpreter_of(None), "-m", "venv", *(["--without-pip"] if has_pip else []), str(target)]
        await self._run(name, venv, note)
        listing = target / "requirements.txt"
        lines = logical_lines(requirements)
        listing.write_text("\n".join(lines))  # as we read them: pip must not see another text than was checked
        python = str(target / "bin" / "python")
        pip = [sys.executable, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
        options = ["--require-hashes", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
        if lines:
            await self._run(name, [*pip, "install", *options, "-r", str(listing)], note)

    async def _run(self, name: str, argv: list[str], note: Callable[[str], None]) -> None:
        """Run one step with the user's own environment, so that pip finds its configuration."""
        printed: list[bytes] = []
        launch = Launch(argv, {**os.environ, "GRIDFARE_ATTEMPT": name, "GRIDFARE_AGENT": self.mark}, str(self.folder))
        child = Child(name, launch, BUILD_LIMITS, lambda _, data: printed.append(data), self.family)
        try:
            child.start()
        except OSError as problem:
            raise AttemptEnded("environment_failed", str(problem)) from problem
        try:
            ended = await child.wait()
        except asyncio.CancelledError:
            child.kill("agent_stopping")
            raise
        if ended.code != 0:
            text = b"".join(printed).decode(errors="replace")
            note(text)
            raise build_failure(ended, text)


def build_failure(ended: Exit, text: str) -> AttemptEnded:
    """Whose fault a failed step is: contents that do not fit are the capability's, the rest is this machine's."""
    lines = [line for line in text.splitlines() if line.strip()]
    detail = ended.detail or next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "")
    network = any(word in text for word in NETWORK)
    theirs = any(word in text for word in NOT_THE_NETWORK) and not network
    return AttemptEnded("environment_failed", detail, "capability_error" if theirs else "node_fault")
