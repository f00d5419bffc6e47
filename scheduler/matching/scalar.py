"""One unit on one pool: the definitions that the planner's columns compute for all pools at once (`arcs.py`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from scheduler.matching.values import PoolState
from scheduler.pace import ANYWHERE, Fit, Key

MIN_RUN_S: Final = 0.001
UNKNOWN_RUN_S: Final = 1.0


def run_seconds(doc: Mapping[str, Any], pool: PoolState, pace: Mapping[Key, Fit]) -> float:
    """Expected seconds of one unit: as it took here before, else anywhere, else its FP32 work over the pool's speed."""
    tflop = float(doc["tflop"])
    speed = pool.mflops / 1e6 * doc["need"]["cores"] / max(pool.cores, 1)
    slope = 1 / speed if speed > 0 else 0.0
    kind = doc["version"], doc["stage"], doc.get("variant", 0)
    seen = pace.get((*kind, pool.id)) or pace.get((*kind, ANYWHERE))
    run_s = seen.at(tflop, slope) if seen is not None else tflop * slope or UNKNOWN_RUN_S
    return min(max(run_s, MIN_RUN_S), float(doc["run_s"]))


def unit_price(doc: Mapping[str, Any], rates: Mapping[str, float], run_s: float) -> float:
    """Expected price of one unit in the offer's currency: the estimate that quotes and matching use.

    What is paid in the end follows from the usage record (billing/pricing.py), in exact decimals.
    """
    quantities = quantities_of(doc, run_s)
    return math.fsum(price * quantities.get(meter, 0.0) for meter, price in rates.items())


def quantities_of(doc: Mapping[str, Any], run_s: float) -> dict[str, float]:
    """How much of each meter a unit takes, given its run time."""
    need = doc["need"]
    devices = sum(a["count"] for a in need.get("accelerators", []))
    return {
        "core_second": run_s * need["cores"],
        "occupancy_second": run_s * need["cores"],
        "accelerator_second": run_s * devices,
        "fp32_tflop": float(doc["tflop"]),
        "gb_moved": doc["bytes_in"] / 1e9,
        "result": 1.0,
    }


def dominant_share(need: Mapping[str, Any], pool: PoolState) -> float:
    """The largest part of the pool that one unit takes, over all dimensions (0 < share <= 1)."""
    declared = dict(pool.accelerators)
    shares: list[float] = [
        need["cores"] / pool.cores,
        need["memory_mib"] / max(pool.memory_mib, 1),
        need["disk_mib"] / max(pool.disk_mib, 1),
        *(a["count"] / declared[a["model"]] for a in need.get("accelerators", [])),
    ]
    return max(*shares, 1e-6)


def needs_of(need: Mapping[str, Any]) -> dict[str, float]:
    """A unit's need by resource; accelerators by model."""
    held = {"cores": float(need["cores"]), "memory_mib": float(need["memory_mib"]), "disk_mib": float(need["disk_mib"])}
    return held | {f"accelerator:{a['model']}": float(a["count"]) for a in need.get("accelerators", [])}
