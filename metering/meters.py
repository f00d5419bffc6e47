"""An agent's counters are claims. Here they are clamped to what was leased times the server's own clock. Pure.

The same rules stand in `metering/sql.py` as one statement over a batch; a property test holds the two together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

LARGEST: Final = 9_000_000_000_000_000_000  # fits a bigint
LARGEST_GFLOP: Final = Decimal("999999999999999999.999999")  # numeric(24, 6)
BYTES_PER_MS_OF_MBPS: Final = 125
LARGEST_QUANTITY: Final = 1_000_000_000  # cores, MiB or devices in one lease; more is a broken document
WATTS_PER_CORE: Final = 100
WATTS_PER_ACCELERATOR: Final = 1_500
CHECKPOINTED: Final = "checkpointed"  # the reason class of a reclaimed attempt that left a checkpoint
EXACT: Final = Context(prec=200, rounding=ROUND_HALF_UP)
TFLOP: Final = re.compile(r"^[0-9]{1,40}([.][0-9]{0,60})?([eE][+-]?[0-9]{1,2})?$", re.ASCII)


@dataclass(frozen=True, slots=True)
class Lease:
    """What an attempt held, by the server's clock. `need` and `tflop` come from its class of need."""

    leased_at: datetime
    ended_at: datetime
    outcome: str
    cores: int
    memory_mib: int
    accelerators: int
    tflop: str
    run_s: int
    bandwidth_mbps: int
    reason_class: str = ""

    @property
    def right(self) -> bool:
        """Whether it gave the result: the one that was delivered, or one that agreed with it (superseded, for no reason)."""
        return self.outcome == "valid" or (self.outcome == "superseded" and not self.reason_class)

    @property
    def window_ms(self) -> int:
        """Whole milliseconds between lease and end; nothing can have run longer."""
        return max(0, (self.ended_at - self.leased_at) // timedelta(milliseconds=1))

    @property
    def watts(self) -> int:
        """More than such a lease can draw; joules beyond it are no measurement."""
        return self.cores * WATTS_PER_CORE + self.accelerators * WATTS_PER_ACCELERATOR

    @property
    def longest_ms(self) -> int:
        """What a program may be metered for: its lease, and no more than the unit's own time limit."""
        return min(self.window_ms, self.run_s * 1000) if self.run_s else self.window_ms


def up_to_checkpoint(lease: Lease, saved_at: datetime) -> Lease:
    """The part of a reclaimed attempt's lease that somebody can go on from: it is metered with the checkpoint's claim."""
    return replace(lease, ended_at=min(saved_at, lease.ended_at))


@dataclass(frozen=True, slots=True)
class Measured:
    """The values of a usage record. `flags` names, in order, each counter that was not taken as claimed."""

    wall_ms: int = 0
    core_ms: int = 0
    held_core_ms: int = 0
    memory_mib_ms: int = 0
    accelerator_ms: int = 0
    fp32_gflop: Decimal = Decimal(0)
    bytes_in: int = 0
    bytes_out: int = 0
    joules: int | None = None
    flags: list[str] = field(default_factory=list)


def measure(lease: Lease, claim: Any) -> Measured:
    """Clamp a claim (docs/protocol.md, `usage`; anything at all) to its lease. Never raises.

    A lost attempt has no say: it held its cores until the server's clock ended it, and used none.
    """
    window = lease.window_ms
    if lease.outcome == "lost":
        return Measured(wall_ms=window, held_core_ms=_most(window * lease.cores))
    flags: list[str] = [] if claim is None or isinstance(claim, dict) else ["usage"]
    counters: Mapping[str, Any] = claim if isinstance(claim, dict) else {}

    def clamp(name: str, most: int) -> int:
        value, taken = _clamp(counters.get(name), _most(most))
        flags.extend([] if taken else [name])
        return value

    wall = clamp("wall_ms", lease.longest_ms)
    moved = window * lease.bandwidth_mbps * BYTES_PER_MS_OF_MBPS
    return Measured(
        wall_ms=wall,
        core_ms=clamp("core_ms", wall * lease.cores),
        held_core_ms=_most(wall * lease.cores),
        memory_mib_ms=clamp("memory_mib_ms", wall * lease.memory_mib),
        accelerator_ms=_accelerators(counters.get("accelerator_ms"), _most(wall * lease.accelerators), flags),
        fp32_gflop=gflop_of(lease.tflop) if lease.right else Decimal(0),
        bytes_in=clamp("bytes_in", moved),
        bytes_out=clamp("bytes_out", moved),
        joules=None if counters.get("joules") is None else clamp("joules", wall * lease.watts // 1000),
        flags=flags,
    )


def _most(most: int) -> int:
    return min(most, LARGEST)


def _clamp(value: Any, most: int) -> tuple[int, bool]:
    """The claim between 0 and `most`, and whether it was taken as it stood. Left out means 0."""
    if value is None:
        return 0, True
    number = _number(value)
    if number is None:
        return 0, False
    clamped = math.floor(min(max(number, Decimal(0)), Decimal(most)))
    return clamped, clamped == number


def _number(value: Any) -> Decimal | None:
    """A JSON number, exactly as PostgreSQL reads it; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(value) if isinstance(value, int) else Decimal(str(value))
    return number if number.is_finite() else None


def _accelerators(value: Any, most: int, flags: list[str]) -> int:
    """Sum of `{model: ms}`, at most `most`; each value is clamped like any counter."""
    if value is None:
        return 0
    parts = [_clamp(ms, LARGEST) for ms in value.values()] if isinstance(value, dict) else [(0, False)]
    total = sum(ms for ms, _ in parts)
    if total > most or not all(taken for _, taken in parts):
        flags.append("accelerator_ms")
    return min(total, most)


def gflop_of(tflop: str) -> Decimal:
    """The plan's demand (decimal text, FP32 TFLOP) in GFLOP, six places, half up. Text that is none counts 0.

    >>> gflop_of("0.0000000005")
    Decimal('0.000001')
    """
    if not TFLOP.match(tflop):
        return Decimal(0)
    gflop = min(EXACT.scaleb(Decimal(tflop), 3), LARGEST_GFLOP)
    return EXACT.quantize(gflop, Decimal("0.000001"))


@dataclass(frozen=True, slots=True)
class Resources:
    """What a need's document says a lease holds, and what the work is worth."""

    cores: int
    memory_mib: int
    accelerators: int
    tflop: str
    run_s: int


def resources_of(document: Any) -> Resources:
    """Read `need`, `tflop` and `run_s` of a need's document (scheduler/needs.py); what is missing or no quantity counts 0."""
    document = document if isinstance(document, dict) else {}
    need = document.get("need")
    need = need if isinstance(need, dict) else {}
    devices = need.get("accelerators")
    counts = [_quantity(device.get("count")) for device in devices or [] if isinstance(device, dict)]
    return Resources(
        _quantity(need.get("cores")),
        _quantity(need.get("memory_mib")),
        min(sum(counts), LARGEST_QUANTITY),
        str(document.get("tflop", "")),
        _quantity(document.get("run_s")),
    )


def _quantity(value: Any) -> int:
    return _clamp(value, LARGEST_QUANTITY)[0]
