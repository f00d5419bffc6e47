"""What this machine is: measured here, sent when the agent enrols."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from gridfare.agent.executors.sandbox import find_sandbox
from gridfare.agent.home import Accelerator
from gridfare.agent.model import MIB

INSTRUCTION_SETS = {"amd64": "x86_64", "arm64": "aarch64"}


def instruction_set() -> str:
    """The name that variants use."""
    machine = platform.machine().lower()
    return INSTRUCTION_SETS.get(machine, machine)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_mib() -> int:
    """Memory of the machine, or of the control group that this process lives in."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(name).read_text()))
        except (OSError, ValueError):
            continue
    return total // MIB


def free_disk_mib(folder: Path) -> int:
    """Space that this user may still fill where ``folder`` lies."""
    return shutil.disk_usage(folder).free // MIB


def accelerators() -> tuple[Accelerator, ...]:
    """Accelerators that their driver's tool names; an operator may declare others."""
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return grouped(listing)


def grouped(listing: str) -> tuple[Accelerator, ...]:
    """Devices of one model and size together; lines are ``name, MiB``."""
    counts: dict[tuple[str, int], int] = {}
    for line in listing.splitlines():
        name, _, size = line.rpartition(",")
        if size.strip().isdigit():
            key = (name.strip(), int(size))
            counts[key] = counts.get(key, 0) + 1
    return tuple(Accelerator(model, count, size) for (model, size), count in counts.items())


def executors(folder: Path, seed: str) -> tuple[str, ...]:
    """Executors that really work here."""
    sandbox, _ = find_sandbox(folder, seed)
    return ("process", "sandbox") if sandbox else ("process",)


def collect(folder: Path, names: tuple[str, ...], declared_cores: int, declared_memory: int, declared_disk: int) -> dict[str, Any]:
    """The ``facts`` of enrolment; amounts are what the operator declared."""
    devices = [{"model": d.model, "count": d.count, "memory_mib": d.memory_mib} for d in accelerators()]
    return {
        "instruction_set": instruction_set(),
        "cores": declared_cores,
        "memory_mib": declared_memory,
        "disk_mib": declared_disk,
        "accelerators": devices,
        "os": f"{platform.system()} {platform.release()}",
        "hostname": socket.gethostname(),
        "python": platform.python_version(),
        "executors": list(names),
    }
