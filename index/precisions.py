"""Capacity that is quoted in another precision, in FP32: by a versioned table of what makers publish of their devices. Pure.

The table (index/data/fp32_v1.csv) has peaks in TFLOPS, of dense matrices (half of what is published with sparsity), with the page
that says so. A factor is the device's FP32 peak over the peak of the precision that was quoted; without a device there is none, and
nothing is guessed. A correction is a new version of the table; values keep the version they were converted by.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

from core.errors import Invalid

VERSION: Final = "fp32@1"
BASE: Final = "FP32"
PRECISIONS: Final = ("FP64", "FP32", "TF32", "BF16", "FP16", "FP8", "INT8")
_TABLE: Final = Path(__file__).parent / "data" / "fp32_v1.csv"
_PLACES: Final = 12


@dataclass(frozen=True, slots=True)
class Peak:
    """What a device does at most in a precision, in TFLOPS, and who says so."""

    device: str
    precision: str
    tflops: Decimal
    cited: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """From what was quoted to FP32."""

    device: str
    precision: str
    factor: Decimal
    cited: str

    def document(self, value: Decimal, unit: str) -> dict[str, str]:
        """What stands beside a converted value."""
        told = {"quoted": f"{value:f} {unit}", "precision": self.precision, "factor": f"{self.factor:f}", "table": VERSION}
        return told | ({"device": self.device, "cited": self.cited} if self.device else {})


@cache
def peaks() -> Mapping[tuple[str, str], Peak]:
    """By device, in lower case, and precision."""
    with _TABLE.open(encoding="utf-8", newline="") as lines:
        found = [Peak(row["device"], row["precision"], Decimal(row["peak"]), row["cited"]) for row in csv.DictReader(lines)]
    return {(one.device.lower(), one.precision): one for one in found}


def devices() -> list[str]:
    """Devices that have a peak in FP32 and so a factor."""
    return sorted({one.device for one in peaks().values() if one.precision == BASE})


def conversion_of(text: str) -> Conversion:
    """Of a precision as a file says it: `FP32`, or a precision and a device, such as `FP16 NVIDIA A100`.

    Invalid `precision_unknown` where the table knows no factor.

    >>> conversion_of("FP16 NVIDIA A100").factor
    Decimal('0.0625')
    """
    precision, _, device = " ".join(text.split()).partition(" ")
    precision = precision.upper()
    if precision == BASE and not device:
        return Conversion("", BASE, Decimal(1), "")
    base, quoted = (peaks().get((device.lower(), one)) for one in (BASE, precision))
    if base is None or quoted is None:
        raise Invalid("precision_unknown", _why(precision, device), field="precision")
    return Conversion(base.device, precision, round(base.tflops / quoted.tflops, _PLACES), quoted.cited)


def _why(precision: str, device: str) -> str:
    if precision not in PRECISIONS:
        return f"capacity without a precision is not FP32: name {', '.join(PRECISIONS)} and the device, such as FP16 NVIDIA A100"
    if not device:
        return f"{precision} of which device? Of each another factor leads to FP32: {', '.join(devices())}"
    return f"table {VERSION} has no {precision} of {device[:60]!r}; it has {', '.join(devices())}"


def in_fp32(value: Decimal, conversion: Conversion) -> Decimal:
    """Twelve places, as observations have."""
    return round(value * conversion.factor, _PLACES)
