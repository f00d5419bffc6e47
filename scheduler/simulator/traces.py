"""Traces of our own, as JSON: classes with their need, what they really take, and when they arrive (docs/scheduling/simulator.md).

What a trace leaves to chance (`run_s` with a spread, arrivals `per_hour`) is drawn from the seed: the same seed, the same trace.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from scheduler.simulator.shapes import TRACE, checked, lines_of
from scheduler.simulator.swf import CORE_GFLOPS, read_swf
from scheduler.simulator.values import BadFile, Trace, Unit, need_of

MOST_UNITS: Final = 5_000_000


def read_trace(path: Path, seed: int = 1) -> Trace:
    """A trace of either format: `.json` is our own, everything else SWF. Raises BadFile."""
    if path.suffix == ".json":
        return trace_of(path, checked(path, TRACE), seed)
    return read_swf(path, lines_of(path))


def trace_of(path: Path, document: Mapping[str, Any], seed: int) -> Trace:
    """The trace that a checked document describes."""
    begins_at, core_gflops = _begin(path, document), float(document.get("core_gflops", CORE_GFLOPS))
    units: list[Unit] = []
    for number, one in enumerate(document["classes"], 1):
        chance = random.Random(f"{seed} {number}")  # noqa: S311  nothing secret is drawn
        units += _units(path, number, one, chance, begins_at, core_gflops)
        if len(units) > MOST_UNITS:
            raise BadFile(f"{path}: classes[{number - 1}].arrivals: more than {MOST_UNITS:,} units in all")
    units.sort(key=lambda unit: unit.at)
    return Trace(document.get("name", path.stem), units, core_gflops, begins_at)


def _begin(path: Path, document: Mapping[str, Any]) -> float:
    try:
        return datetime.fromisoformat(document.get("begins_at", "2026-01-01T00:00:00+08:00")).timestamp()
    except ValueError as error:
        raise BadFile(f"{path}: begins_at: {error}") from error


def _units(
    path: Path, number: int, one: Mapping[str, Any], chance: random.Random, begins_at: float, core_gflops: float
) -> Iterator[Unit]:
    gang, deadline_s = int(one.get("gang", 1)), one.get("deadline_s")
    need = _need(number, one, core_gflops)
    for at, units in _arrivals(one["arrivals"], chance):
        if units % gang:
            raise BadFile(f"{path}: classes[{number - 1}].arrivals: {units} units are no whole gangs of {gang}")
        if deadline_s is not None:
            need = need | {"deadline": int(begins_at + at + deadline_s) // 10 * 10}
        for _ in range(units):
            yield Unit(need, at, _drawn(one["run_s"], chance))


def _arrivals(arrivals: Any, chance: random.Random) -> Iterator[tuple[float, int]]:
    """(second, units) pairs: those listed, or a Poisson stream."""
    if isinstance(arrivals, list):
        yield from ((float(at), int(units)) for at, units in arrivals)
        return
    at = float(arrivals.get("from_s", 0))
    for _ in range(MOST_UNITS):
        at += chance.expovariate(arrivals["per_hour"] / 3600)
        if at >= arrivals["until_s"]:
            return
        yield at, int(arrivals.get("units", 1))


def _drawn(run_s: Any, chance: random.Random) -> float:
    """Seconds: the number given, or a draw from a log-normal with a median and the spread of the logarithm."""
    if isinstance(run_s, Mapping):
        return float(max(run_s["median"] * math.exp(chance.gauss(0.0, run_s["spread"])), 0.001))
    return float(run_s)


def _need(number: int, one: Mapping[str, Any], core_gflops: float) -> dict[str, Any]:
    run_s, need = one["run_s"], one["need"]
    asked_s = float(one.get("asked_s", run_s["median"] if isinstance(run_s, Mapping) else run_s))
    cap = one.get("max_unit_price")
    taken = ("objective", "regions", "providers", "exclude_providers", "trusted", "bytes_in", "bytes_out", "gang")
    more = {name: one[name] for name in taken if name in one}
    if "weights" in one:
        more["weights"] = {name: repr(float(value)) for name, value in one["weights"].items()}
    return need_of(
        version=number,
        cores=need["cores"],
        memory_mib=need.get("memory_mib", 0),
        disk_mib=need.get("disk_mib", 0),
        accelerators=need.get("accelerators", []),
        instruction_set=one.get("instruction_set", "any"),
        tflop=asked_s * need["cores"] * core_gflops / 1e3,
        organization=one["organization"],
        cap=None if cap is None else repr(float(cap)),
        **more,
    )
