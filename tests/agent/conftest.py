"""A platform and machines that join it; nothing here needs Django."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gridfare.agent.home import AgentConfig, Home
from gridfare.agent.identity import load_or_create_identity
from gridfare.agent.line import Options
from gridfare.agent.loop import Loop
from gridfare.agent.service import serve

from .platform import Platform

Join = Callable[..., "Machine"]
Spawn = Callable[..., "subprocess.Popen[bytes]"]
ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """An agent that runs in a thread of the test."""

    def __init__(self, platform: Platform, path: Path, config: dict[str, Any]) -> None:
        self.platform, self.home = platform, Home(path)
        self.home.create()
        identity = load_or_create_identity(self.home.key)
        answer = platform.enrol({"token": "good", "public_key": identity.public_key})
        platform.tokens["good"] = "unused"
        declared = {"cores": 2, "memory_mib": 4096, "disk_mib": 4096, "executors": ("process", "sandbox"), **config}
        self.home.save_config(AgentConfig(platform.url, answer["agent_id"], "bob-1", "CN-44-G-0001-7", **declared))
        self.loop: Loop | None = None
        self.code: int | None = None

    def start(self, executor: str | None = "process", allow_untrusted: bool = False, **options: Any) -> Machine:
        """Run until `stop`; returns when the loop is there."""
        chosen = Options(**{"stop_s": 1.0, "idle_wait_s": 1, **options})
        started = threading.Event()

        def ready(loop: Loop) -> None:
            self.loop, self.events = loop, asyncio.get_running_loop()
            started.set()

        def work() -> None:
            config = self.home.load_config()
            lock = self.home.hold()
            try:
                self.code = asyncio.run(serve(self.home, config, chosen, executor, allow_untrusted, ready))
            finally:
                os.close(lock)
                started.set()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        assert started.wait(20)
        return self

    def stop(self) -> None:
        """Leave in order, as after SIGTERM."""
        if self.loop is not None and self.thread.is_alive():
            self.events.call_soon_threadsafe(self.loop.stop)
        self.join_thread()

    def join_thread(self, timeout_s: float = 40) -> None:
        """Wait for the agent's end."""
        if self.loop is not None:
            self.thread.join(timeout_s)
            assert not self.thread.is_alive(), "the agent does not end"

    def folders(self) -> list[str]:
        """Working folders in which something is left of a unit."""
        kept = self.home.work.iterdir()
        return [f.name for f in kept if {e.name for e in f.iterdir()} - {"task.json", ".gridfare"}]


@pytest.fixture
def platform() -> Iterator[Platform]:
    """A platform of its own for each test."""
    made = Platform()
    yield made
    made.close()


@pytest.fixture
def join(platform: Platform, tmp_path: Path) -> Iterator[Join]:
    """Makes machines; they are stopped at the end of the test."""
    machines: list[Machine] = []

    def make(**config: Any) -> Machine:
        machine = Machine(platform, tmp_path / f"home{len(machines)}", config)
        machines.append(machine)
        return machine

    yield make
    for machine in machines:
        machine.stop()


@pytest.fixture
def machine(join: Join) -> Machine:
    """A machine with two cores that runs programs as processes."""
    return join().start()


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts agents in processes of their own; they are killed at the end of the test."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(machine: Machine, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gridfare.agent", "run", "--home", str(machine.home.path), *words]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes.append(subprocess.Popen(command, env=env, start_new_session=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()
