"""Whether this machine can do the work: each check with what was found, what is needed, and what to do about it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from gridfare.agent import facts
from gridfare.agent.benchmark import Benchmark, measure
from gridfare.agent.executors.base import interpreter_of
from gridfare.agent.executors.sandbox import find_sandbox

PASS, WARN, FAIL = "pass", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Result:
    """One check: ``status`` is pass, warn or fail; the other fields are for people."""

    code: str
    status: str
    measured: str
    needed: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """As the protocol wants it."""
        return {key: value[:200] for key, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """All results, and the benchmark that was taken on the way."""

    results: list[Result]
    benchmark: Benchmark

    @property
    def passed(self) -> bool:
        """Whether nothing failed (warnings are allowed)."""
        return all(result.status != FAIL for result in self.results)


def status(good: bool, otherwise: str = FAIL) -> str:
    """PASS, or the other."""
    return PASS if good else otherwise


def check_python() -> Result:
    """The interpreter that runs programs, and whether it can make environments."""
    python = interpreter_of(None)
    code = "import venv, ssl, sys; print(sys.version.split()[0])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    hint = "" if done.returncode == 0 else "install Python 3.11 or newer with its venv module"
    return Result("python", status(done.returncode == 0), done.stdout.strip() or "broken", "3.11 with venv", hint)


def check_pip() -> Result:
    """pip installs the requirements of capabilities."""
    done = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True)
    found = " ".join(done.stdout.split()[:2]) or "none"
    return Result("pip", status(done.returncode == 0, WARN), found, "pip 22.3", "" if found != "none" else "install pip")


def check_memory() -> Result:
    """Enough memory for the smallest capability beside the agent."""
    found = facts.memory_mib()
    return Result("memory", status(found >= 512), f"{found} MiB", "512 MiB", "use a machine with more memory")


def check_disk(folder: Path) -> Result:
    """Enough room for working folders and the cache."""
    found = facts.free_disk_mib(folder)
    grade = PASS if found >= 4096 else WARN if found >= 1024 else FAIL
    return Result("disk", grade, f"{found} MiB free", "4096 MiB", "free some space or choose another --home")


def check_sandbox(folder: Path) -> Result:
    """Isolation, tried by really running a program in it."""
    found, how = find_sandbox(folder, "selftest")
    if found:
        return Result("sandbox", PASS, how, "bubblewrap 0.8")
    hint = "install bubblewrap and allow user namespaces; until then only vouched-for programs run here"
    return Result("sandbox", WARN, how, "bubblewrap 0.8", hint)


def check_platform(url: str | None) -> Result:
    """The platform's answer and its clock; a difference is corrected, so it is only a warning."""
    if url is None:
        return Result("platform", WARN, "not joined", "reachable", "join a pool first")
    try:
        answer = httpx.get(url, timeout=10, follow_redirects=True)
    except httpx.HTTPError as problem:
        return Result("platform", FAIL, type(problem).__name__, "reachable", f"check the way to {url}")
    return Result("platform", PASS, f"HTTP {answer.status_code}", "reachable")


def check_descriptors() -> Result:
    """Open files allowed: each running unit needs about six."""
    import resource

    found = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return Result("open_files", status(found >= 1024, WARN), str(found), "1024", "raise `ulimit -n`")


def check_tools() -> Result:
    """The shell and env(1), which the sandbox uses to set limits."""
    missing = [name for name in ("sh", "env") if shutil.which(name) is None]
    return Result("tools", status(not missing), " ".join(missing) or "found", "sh, env", "install coreutils")


def check_fp32(measured: Benchmark) -> Result:
    """A figure that jobs can be planned by."""
    hint = "" if measured.method == "numpy" else "install numpy beside the agent (pip install 'gridfare[numpy]')"
    grade = PASS if measured.method == "numpy" else WARN
    return Result("fp32", grade, f"{measured.fp32_mflops} MFLOPS ({measured.method})", "measured with numpy", hint)


def run(folder: Path, url: str | None, budget_s: float = 1.0, cores: int | None = None) -> SelfTest:
    """Every check and the benchmark; takes some seconds. ``folder`` is the agent's home (it must exist).

    ``cores`` is what the agent may use, by default all.
    """
    checks: list[Callable[[], Result]] = [
        check_python,
        check_pip,
        check_memory,
        lambda: check_disk(folder),
        lambda: check_sandbox(folder / "sandbox"),
        lambda: check_platform(url),
        check_descriptors,
        check_tools,
    ]
    results = [check() for check in checks]
    measured = measure(folder, cores or facts.cores(), budget_s)
    results.append(check_fp32(measured))
    results.append(Result("cores", PASS, str(len(os.sched_getaffinity(0))), "1"))
    return SelfTest(results, measured)
