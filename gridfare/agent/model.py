"""What the platform sends: specs, limits, needs and leases, checked before anything is done with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from gridfare.agent.files import checked_path

DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
MIB = 1 << 20
OURS = {"in", ".gridfare", "task.json", "progress", "checkpoint-please"}
"""Names at the top of the working folder that the agent gives a meaning."""


class SpecError(ValueError):
    """A spec or a lease asks for something that no honest one would: it is not run."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Content named by its hash."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class InputFile:
    """Content and where a program finds it, relative to its working folder."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class OutputGlob:
    """A pattern of results; ``required`` ones must match at least one file."""

    path: str
    required: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use: seconds, MiB, KiB and counts as the names say."""

    run_s: int = 600
    memory_mib: int = 1024
    processes: int = 64
    file_mib: int = 512
    disk_mib: int = 1024
    output_mib: int = 512
    log_kib: int = 1024
    grace_s: int = 5


@dataclass(frozen=True, slots=True)
class DeviceNeed:
    """Accelerators that a unit holds while it runs; an empty model stands for any."""

    model: str = ""
    count: int = 1
    memory_mib: int = 0


@dataclass(frozen=True, slots=True)
class Need:
    """What of the machine a running unit occupies."""

    cores: int = 1
    memory_mib: int = 0
    disk_mib: int = 0
    accelerators: tuple[DeviceNeed, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """Pinned requirements, named by the hash of their text."""

    requirements: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CheckpointRule:
    """Which files a program saves its state in, and how often they are stored."""

    paths: tuple[str, ...]
    every_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Spec:
    """What many units have in common."""

    id: str
    task: str
    stage: str
    total: int
    capability: str
    trusted: bool
    run: tuple[str, ...]
    program: Blob | None = None
    environment: Environment | None = None
    env: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)
    files: tuple[InputFile, ...] = ()
    outputs: tuple[OutputGlob, ...] = ()
    limits: Limits = field(default_factory=Limits)
    need: Need = field(default_factory=Need)
    checkpoint: CheckpointRule | None = None
    commit: bool = False
    """Results are committed to by a hash first, and shown when the platform asks for them."""


@dataclass(frozen=True, slots=True)
class Lease:
    """One attempt at one unit, given to this agent; ``attempt`` is kept as it came (a number or a text)."""

    attempt: int | str
    fence: int
    spec: Spec
    index: int
    params: Any
    files: tuple[InputFile, ...]
    resume: tuple[InputFile, ...] = ()
    """What an earlier attempt saved: it lies where that one left it."""

    @property
    def key(self) -> str:
        """The attempt as text."""
        return str(self.attempt)


def read_spec(document: dict[str, Any]) -> Spec:
    """Check a spec; raises SpecError naming what is wrong."""
    try:
        return _read_spec(document)
    except (KeyError, TypeError, ValueError) as problem:
        raise SpecError(f"spec {document.get('id')}: {problem}") from problem


def _read_spec(document: dict[str, Any]) -> Spec:
    program, environment = document.get("program"), document.get("environment")
    limits = {name: int(value) for name, value in (document.get("limits") or {}).items() if value is not None}
    return Spec(
        id=str(document["id"]),
        task=str(document["task"]),
        stage=str(document["stage"]),
        total=int(document["total"]),
        capability=str(document.get("capability", "")),
        trusted=document.get("trusted") is True,
        run=tuple(_read_words(document["run"])),
        program=Blob(_digest(program["sha256"]), int(program["bytes"])) if program else None,
        environment=_read_environment(environment) if environment else None,
        env=_read_env(document.get("env") or {}),
        inputs=document.get("inputs") or {},
        files=read_files(document.get("files")),
        outputs=tuple(_read_output(item) for item in document.get("outputs") or ()),
        limits=Limits(**{name: limits[name] for name in Limits.__slots__ if name in limits}),
        need=_read_need(document.get("need") or {}),
        checkpoint=_read_checkpoint(document.get("checkpoint")),
        commit=document.get("commit") is True,
    )


def _digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise ValueError(f"not a SHA-256: {text!r}")
    return text


def _read_words(words: Any) -> list[str]:
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ValueError("run must be a list of words")
    return list(words)


def _read_env(env: dict[str, Any]) -> dict[str, str]:
    for name, value in env.items():
        if not VARIABLE.fullmatch(name) or not isinstance(value, str) or "\0" in value:
            raise ValueError(f"not an environment variable: {name!r}")
    return env


def _read_environment(document: dict[str, Any]) -> Environment:
    return Environment(document["requirements"], _digest(document["sha256"]))


def _read_output(item: dict[str, Any]) -> OutputGlob:
    return OutputGlob(checked_path(item["path"]), item.get("required") is True)


def _read_checkpoint(document: dict[str, Any] | None) -> CheckpointRule | None:
    if document is None:
        return None
    return CheckpointRule(tuple(checked_path(path) for path in document["paths"]), max(float(document["every_s"]), 1.0))


def _read_need(document: dict[str, Any]) -> Need:
    devices = tuple(
        DeviceNeed(item.get("model") or "", int(item.get("count", 1)), int(item.get("memory_mib") or 0))
        for item in document.get("accelerators") or ()
    )
    numbers = {name: int(document.get(name) or 0) for name in ("cores", "memory_mib", "disk_mib")}
    return Need(**numbers, accelerators=devices)


def read_files(items: list[dict[str, Any]] | None) -> tuple[InputFile, ...]:
    """Check input files: they lie below ``in/``. Raises ValueError."""
    files = tuple(InputFile(checked_path(item["path"]), _digest(item["sha256"]), int(item["bytes"])) for item in items or ())
    for file in files:
        if not file.path.startswith("in/"):
            raise ValueError(f"an input file outside in/: {file.path!r}")
    return files


def read_saved(items: list[dict[str, Any]] | None = None) -> tuple[InputFile, ...]:
    """Check the files to go on from: anywhere in the working folder but where ours lie. Raises ValueError."""
    files = tuple(InputFile(checked_path(item["path"]), _digest(item["sha256"]), int(item["bytes"])) for item in items or ())
    for file in files:
        if file.path.split("/")[0] in OURS:
            raise ValueError(f"a saved file in our place: {file.path!r}")
    return files


def read_lease(row: list[Any], spec: Spec) -> Lease:
    """Check one lease row; raises SpecError."""
    try:
        attempt, fence, _, index, params, files, *more = row
        if not NAME.fullmatch(str(attempt)):
            raise ValueError(f"not an attempt's name: {attempt!r}")
        return Lease(attempt, int(fence), spec, int(index), params, read_files(files), read_saved(*more))
    except (KeyError, TypeError, ValueError) as problem:
        raise SpecError(f"lease {row[:2]}: {problem}") from problem
