"""What a trace says, as values; and the one error of files that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

OFFERS_AT: Final = "0"  # prices do not change in a simulation: all tasks ask for those of one moment
NO_LIMIT_S: Final = 10**9  # the simulator ends no unit for its length


class BadFile(ValueError):
    """A trace or a description of pools cannot be read; the message names file and line, or the field."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of the trace.

    document   its need (needs.py); `tflop` is what was asked for, so that the planner's estimate is the user's
    at         arrival, seconds from the trace's beginning
    run_s      what it really takes on cores of the trace's speed
    """

    document: Mapping[str, Any]
    at: float
    run_s: float


@dataclass(frozen=True, slots=True)
class Trace:
    """Units in the order of their arrival.

    core_gflops  FP32 speed of one core of the machine that `run_s` was measured on
    begins_at    seconds since the epoch at second 0: the hour of the day, for carbon
    left_out     why → how many entries of the file are not simulated
    """

    name: str
    units: Sequence[Unit]
    core_gflops: float
    begins_at: float = 0.0
    left_out: Mapping[str, int] = field(default_factory=dict)

    def first(self, units: int) -> Trace:
        """The first so many units; a gang that would be cut is left out whole."""
        end = min(units, len(self.units))
        while 0 < end < len(self.units) and self._continues(end):
            end -= 1
        return replace(self, units=self.units[:end])

    def _continues(self, place: int) -> bool:
        """Is the unit at this place one of a gang that began before?"""
        document = self.units[place].document
        size = int(document.get("gang") or 1)
        before = 0
        while size > 1 and before < place and self.units[place - 1 - before].document is document:
            before += 1
        return before % size != 0


def need_of(
    *,
    version: int,
    cores: int,
    memory_mib: int = 0,
    disk_mib: int = 0,
    accelerators: Sequence[Mapping[str, Any]] = (),
    instruction_set: str = "any",
    tflop: float,
    organization: str,
    **more: Any,
) -> dict[str, Any]:
    """A need document (needs.py) with what every trace says, the rest as if nobody had a wish. `more` are further members."""
    accelerator = accelerators[0]["model"] if accelerators else None
    return {
        "version": version,
        "stage": 0,
        "need": {
            "cores": cores,
            "memory_mib": memory_mib,
            "disk_mib": disk_mib,
            "accelerators": [dict(one) for one in accelerators],
        },
        "variants": [{"instruction_set": instruction_set, "accelerator": accelerator}],
        "tflop": f"{tflop:.6g}",
        "run_s": NO_LIMIT_S,
        "bytes_in": 0,
        "organization": organization,
        "trusted": True,
        "objective": "balanced",
        "regions": [],
        "providers": [],
        "exclude_providers": [],
        "cap": None,
        "fee": "0",
        "offers_at": OFFERS_AT,
    } | more
