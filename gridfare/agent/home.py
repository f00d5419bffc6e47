"""The agent's folder on the provider's machine: who may use it, and what lies where."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gridfare.agent.files import write_atomically
from gridfare.agent.owner import IdleRules


class HomeError(Exception):
    """The folder is not an agent's home, or another agent is using it."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Devices of one model: how many, and the memory of each in MiB."""

    model: str
    count: int
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What `join` decided and `run` needs; kept as agent.json."""

    url: str
    agent_id: str
    name: str
    pool: str
    cores: int
    memory_mib: int
    disk_mib: int
    executors: tuple[str, ...]
    accelerators: tuple[Accelerator, ...] = field(default=())
    cache_mib: int = 10_240
    store_mib: int = 0
    """Room for copies of artifacts that users want near; none is offered by itself."""
    idle: IdleRules | None = None
    """When the machine may work, where somebody else uses it, too; None: always."""

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> AgentConfig:
        """Read agent.json; raises TypeError when a field is missing or unknown."""
        devices = tuple(Accelerator(**item) for item in document.pop("accelerators", []))
        rules = document.pop("idle", None)
        idle = None if rules is None else IdleRules.from_json(rules)
        return cls(**{**document, "executors": tuple(document["executors"]), "accelerators": devices, "idle": idle})


class Home:
    """Paths of one agent. Everything below is readable by its owner only (the root folder is 0700)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().resolve()
        self.key = self.path / "key.pem"
        self.config = self.path / "agent.json"
        self.outbox = self.path / "outbox.json"
        self.rejected = self.path / "rejected"
        self.running = self.path / "running.json"
        self.drain = self.path / "drain"
        self.reclaim = self.path / "reclaim"
        self.lock = self.path / "lock"
        self.cache = self.path / "cache"
        self.kept = self.path / "kept.json"
        self.programs = self.path / "programs"
        self.environments = self.path / "environments"
        self.work = self.path / "work"
        self.saving = self.path / "saving"
        self.sandbox = self.path / "sandbox"

    def create(self) -> None:
        """Make the folders; safe to repeat."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self.path, 0o700)
        for folder in (self.cache, self.programs, self.environments, self.work, self.sandbox):
            folder.mkdir(exist_ok=True)

    def hold(self) -> int:
        """Take the home for this process; raises HomeError when another agent runs in it.

        The lock lives as long as the returned descriptor, so a crash frees it.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise HomeError(f"another agent is running in {self.path}") from None
        return descriptor

    def is_held(self) -> bool:
        """Whether an agent is running here now."""
        try:
            os.close(self.hold())
        except HomeError:
            return True
        return False

    def load_config(self) -> AgentConfig:
        """What `join` wrote; raises HomeError when this folder never joined."""
        try:
            return AgentConfig.from_json(json.loads(self.config.read_bytes()))
        except FileNotFoundError:
            raise HomeError(f"{self.path} has not joined a pool yet") from None
        except (ValueError, TypeError, KeyError) as problem:
            raise HomeError(f"{self.config} is damaged: {problem}") from problem

    def save_config(self, config: AgentConfig) -> None:
        """Write agent.json durably."""
        text = json.dumps(asdict(config), indent=2, sort_keys=True) + "\n"
        write_atomically(self.config, text.encode(), mode=0o600)
