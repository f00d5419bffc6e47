"""How fast this machine is: single-precision floating point, memory and disk, in whole units per second.

With numpy the figure comes from matrix products on the cores that the agent may use, which is what capabilities reach.
Without it, sums of products over packed single-precision arrays are formed by the interpreter: a lower bound that is
thousands of times too small, and says so by its method.
"""

from __future__ import annotations

import array
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridfare.agent.model import MIB


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Measured speeds; ``method`` says how the first one was measured."""

    fp32_mflops: int
    memory_mbps: int
    disk_mbps: int
    method: str

    def to_json(self) -> dict[str, Any]:
        """As the self-test sends it."""
        speeds = {"fp32_mflops": self.fp32_mflops, "memory_mbps": self.memory_mbps, "disk_mbps": self.disk_mbps}
        return {**speeds, "method": self.method}


def best_rate(amount: float, action: Callable[[], object], budget_s: float) -> float:
    """The best of several runs: amount per second, repeated for about ``budget_s``."""
    best, ends = 0.0, time.perf_counter() + budget_s
    while best == 0.0 or time.perf_counter() < ends:
        began = time.perf_counter()
        action()
        best = max(best, amount / (time.perf_counter() - began))
    return best


def fp32_by_numpy(budget_s: float, cores: int, size: int = 512) -> float:
    """FLOPS of a single-precision matrix product, 2 n^3 operations, on so many threads.

    In a process of its own: the libraries below numpy read their number of threads once, when they are loaded.
    """
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(cores))
    command = [sys.executable, "-m", __name__, str(budget_s), str(size)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, check=True, timeout=60)
    return float(done.stdout)


def matrix_rate(budget_s: float, size: int) -> float:
    """FLOPS of matrix products in this process."""
    import numpy

    left = numpy.full((size, size), 1.5, dtype=numpy.float32)
    right = numpy.full((size, size), 0.5, dtype=numpy.float32)
    return best_rate(2.0 * size**3, lambda: left @ right, budget_s)


def fp32_by_interpreter(budget_s: float, size: int = 100_000) -> float:
    """FLOPS of a dot product over single-precision arrays: 2 n operations."""
    left = array.array("f", [1.5]) * size
    right = array.array("f", [0.5]) * size
    return best_rate(2.0 * size, lambda: sum(a * b for a, b in zip(left, right, strict=True)), budget_s)


def memory_rate(budget_s: float, size: int = 64 * MIB) -> float:
    """Bytes per second of a copy: each byte is read and written."""
    source = bytearray(size)
    return best_rate(2.0 * size, lambda: bytes(source), budget_s)


def disk_rate(folder: Path, size: int = 64 * MIB) -> float:
    """Bytes per second written and made durable."""
    path = folder / f".benchmark.{os.getpid()}"
    block = os.urandom(MIB)

    def write() -> None:
        with open(path, "wb") as file:
            file.writelines(block for _ in range(size // MIB))
            file.flush()
            os.fsync(file.fileno())

    try:
        return best_rate(size, write, 0)
    finally:
        path.unlink(missing_ok=True)


def measure(folder: Path, cores: int, budget_s: float = 1.0) -> Benchmark:
    """Measure everything in about three times ``budget_s``; ``cores`` is what the agent may use."""
    flops, method = fp32_rate(cores, budget_s)
    speeds = flops, memory_rate(budget_s), disk_rate(folder)
    fp32, memory, disk = (max(1, int(rate / 1e6)) for rate in speeds)
    return Benchmark(fp32, memory, disk, method)


def fp32_rate(cores: int, budget_s: float) -> tuple[float, str]:
    """FLOPS, and how they were measured."""
    if importlib.util.find_spec("numpy") is not None:
        try:
            return fp32_by_numpy(budget_s, cores), "numpy"
        except (subprocess.SubprocessError, ValueError, OSError):
            pass  # an installation that is broken on this processor is no reason not to join
    return fp32_by_interpreter(budget_s), "interpreter"


if __name__ == "__main__":
    sys.stdout.write(f"{matrix_rate(float(sys.argv[1]), int(sys.argv[2]))}\n")
