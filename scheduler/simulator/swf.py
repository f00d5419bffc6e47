"""The Standard Workload Format: one job a line, 18 numbers, -1 where nothing is known; lines that begin with ; are comments.

    1 job  2 submit  3 wait  4 run time  5 processors  6 CPU time  7 memory  8 processors asked  9 time asked  10 memory asked
    11 status  12 user  13 group  14 program  15 queue  16 partition  17 job before  18 think time

Format: D. Feitelson's Parallel Workloads Archive. A job becomes one unit that needs its processors together on one pool: its
arrival is the submit time, its actual time the run time, its estimate the time asked for (the run time where none was), its
organization the user, its capability the user's program. Memory is kilobytes a processor.

Who is left out, and counted: a job that never ran (no run time: nearly always cancelled while it waited), one whose
processors nobody knows, and partial records (status 2, 3, 4: the same job's summary has another status). Jobs that failed or
were cancelled while they ran are in: the machine was theirs as long. What a job waited for (17, 18) is in its submit time
already, and is not followed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from scheduler.simulator.values import BadFile, Trace, Unit, need_of

FIELDS: Final = 18
NAMES: Final = (
    "job number", "submit time", "wait time", "run time", "processors", "CPU time", "memory", "processors asked for",
    "time asked for", "memory asked for", "status", "user", "group", "program", "queue", "partition", "job before",
    "think time",
)  # fmt: skip
MOST: Final = 1e12
PARTIAL: Final = (2, 3, 4)
CORE_GFLOPS: Final = 20.0  # the format does not say how fast the machine was


def read_swf(path: Path, lines: Iterable[str], objective: str = "balanced") -> Trace:
    """A trace. Raises BadFile naming the line."""
    comments: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    units, needs = [], _Needs(objective)
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(";"):
            name, _, value = text.lstrip("; ").partition(":")
            comments.setdefault(name.strip(), value.strip())
        elif text:
            job = _numbers(path, number, text)
            why = _left_out(job)
            if why:
                left_out[why] += 1
            else:
                units.append(needs.unit(job))
    if not units:
        raise BadFile(f"{path}: no job that ran is in it")
    units.sort(key=lambda unit: unit.at)
    return Trace(path.name, units, CORE_GFLOPS, _begin(comments.get("UnixStartTime", "")), dict(left_out))


def _numbers(path: Path, number: int, text: str) -> list[float]:
    words = text.split()
    if len(words) != FIELDS:
        raise BadFile(f"{path}: line {number}: {FIELDS} fields are a job, this line has {len(words)} (cut off?)")
    job = [_number(path, number, place, word) for place, word in enumerate(words)]
    if job[1] < 0:
        raise BadFile(f"{path}: line {number}: field 2 (submit time): {words[1]} is before the trace begins")
    return job


def _number(path: Path, number: int, place: int, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not -1 <= value <= MOST:
        raise BadFile(f"{path}: line {number}: field {place + 1} ({NAMES[place]}): {word[:40]!r} is no number from -1 on")
    return value


def _left_out(job: Sequence[float]) -> str:
    if int(job[10]) in PARTIAL:
        return "partial records"
    if job[3] <= 0:
        return "never ran"
    return "" if max(job[7], job[4]) >= 1 else "processors unknown"


class _Needs:
    """Need documents, equal ones the same object; programs are numbered as they come."""

    def __init__(self, objective: str) -> None:
        self.objective = objective
        self.versions: dict[tuple[int, int], int] = {}
        self.known: dict[tuple[Any, ...], dict[str, Any]] = {}

    def unit(self, job: Sequence[float]) -> Unit:
        cores = int(job[7] if job[7] >= 1 else job[4])
        memory = max(job[9] if job[9] > 0 else job[6], 0) * cores / 1024
        asked = job[8] if job[8] > 0 else job[3]
        user, program = int(job[11]), int(job[13])
        version = self.versions.setdefault((user, program), len(self.versions) + 1)
        key = version, cores, math.ceil(memory), two_digits(asked)
        if key not in self.known:
            self.known[key] = self._need(*key, f"user-{user}" if user >= 0 else "unknown")
        return Unit(self.known[key], float(job[1]), float(job[3]))

    def _need(self, version: int, cores: int, memory: int, asked_s: float, organization: str) -> dict[str, Any]:
        return need_of(
            version=version,
            cores=cores,
            memory_mib=memory,
            tflop=asked_s * cores * CORE_GFLOPS / 1e3,
            organization=organization,
            objective=self.objective,
        )


def two_digits(value: float) -> float:
    """Rounded up to two digits, so that jobs that are nearly alike are one class.

    >>> two_digits(1234.0), two_digits(0.5)
    (1300.0, 0.5)
    """
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.6g}")


def _begin(text: str) -> float:
    """The header's UnixStartTime; 0 where there is none."""
    try:
        return max(float(text), 0.0)
    except ValueError:
        return 0.0
