"""Whole amounts of a manifest (resources, limits, totals): numbers or expressions, within bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from core.errors import Invalid
from marketplace.expressions import evaluate, names_in

Amount = int | str
MIB: Final = 1024 * 1024
INPUT_MIB: Final = "input_mib"  # what expressions know beside the inputs: MiB of all input files, rounded up

# What a manifest may ask for, lowest and highest. One machine of a pool cannot be larger than this.
BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "cores": (1, 4_096),
    "memory_mib": (1, 16 * MIB),
    "disk_mib": (1, 256 * MIB),
    "run_s": (1, 30 * 86_400),
    "processes": (1, 65_536),
    "file_mib": (1, 256 * MIB),
    "output_mib": (1, 256 * MIB),
    "log_kib": (1, MIB),
    "grace_s": (0, 300),
    "units": (1, 1_000_000),
    "parts": (1, 1_000_000),
    "bytes_out": (0, 256 * MIB * MIB),
}
RESOURCES: Final = ("cores", "memory_mib", "disk_mib")
LIMITS: Final = (
    "run_s", "memory_mib", "processes", "file_mib", "disk_mib", "output_mib", "log_kib", "grace_s"
)  # fmt: skip


def names_of(inputs: Mapping[str, Any], input_bytes: int) -> dict[str, Any]:
    """What expressions may read: the inputs by name, and `input_mib`."""
    return {**inputs, INPUT_MIB: -(-input_bytes // MIB)}


def field_of(expression: Any) -> str:
    """The input at fault when an expression gives something impossible: the only one it reads, or all."""
    read = names_in(expression) - {INPUT_MIB}
    return f"inputs.{min(read)}" if len(read) == 1 else "inputs"


def amount(key: str, expression: Amount, names: Mapping[str, Any], *, field: str | None = None) -> int:
    """One amount, rounded up, or Invalid `amount_out_of_bounds`; `field` is by default the input at fault."""
    field = field or field_of(expression)
    value = math.ceil(evaluate(expression, names, field=field))
    lowest, highest = BOUNDS[key]
    if not lowest <= value <= highest:
        detail = f"{key} would be {short(value)}; it must be {lowest} to {highest}"
        raise Invalid("amount_out_of_bounds", detail, field=field)
    return value


def whole(expression: Amount, names: Mapping[str, Any], what: str) -> int:
    """A whole number of at most 53 bits, exact in every language's JSON, or Invalid `invalid_split`."""
    value = evaluate(expression, names, field=field_of(expression))
    if value != int(value) or abs(value) > 2**53:
        detail = f"{what} would be {short(value)}; it must be a whole number below 2^53"
        raise Invalid("invalid_split", detail, field=field_of(expression))
    return int(value)


def short(value: int | float) -> str:
    """A number in a sentence."""
    return str(value) if abs(value) < 10**20 else "a number of more than 20 digits"
