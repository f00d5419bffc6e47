"""Metrics in the form of IETF CATS (Computing-Aware Traffic Steering, draft-ietf-cats-metric-definition).

Level 0 is what was measured, with its unit, statistics and source. Level 1 is one number 0-10 per category
(computing, communication), level 2 one number 0-10 for all: 0-3 avoid, 4-7 optional, 8-10 prefer. The draft leaves
the normalisation open and warns that scores of different makers do not compare, so it is declared here: each level-0 value
is scaled linearly between a worst and a best bound, clipped, and a category's score is the mean of its scores, a
composed one the weighted mean of its categories, rounded half up. The platform itself decides on level 0 only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scheduler.network.graph import Link

WINDOW_S: Final = 10
# worst, best; latency in ms, bandwidth in Mbit/s, loss and load as shares
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "delay": (100.0, 1.0),
    "jitter": (20.0, 0.0),
    "loss": (0.01, 0.0),
    "bandwidth": (10.0, 10_000.0),
    "cpu_load": (1.0, 0.0),
    "cores_free": (0.0, 64.0),
}
WEIGHTS: Final[Mapping[str, float]] = {"communication": 0.5, "computing": 0.5}
SOURCES: Final = {"imported": "nominal", "operator": "estimation", "probe": "directly measured"}


@dataclass(frozen=True, slots=True)
class Metric:
    """A level-0 value: its kind (a key of BOUNDS), unit, source and statistic as the draft names them."""

    kind: str
    value: float
    unit: str
    source: str = "nominal"
    statistics: str = "cur"

    def document(self) -> dict[str, Any]:
        return {
            "metric_type": self.kind,
            "level": "L0",
            "format": "double",
            "format_std": "IEEE_754",
            "length": 8,
            "unit": self.unit,
            "source": self.source,
            "statistics": self.statistics,
            "value": self.value,
        }


def link_metrics(link: Link) -> list[Metric]:
    """A link's level-0 metrics, as measured (not widened)."""
    source = SOURCES[link.origin]
    return [
        Metric("delay", round(link.latency_p50_s * 1e3, 6), "ms", source, "mean"),
        Metric("delay", round(link.latency_p90_s * 1e3, 6), "ms", source, "max"),
        Metric("jitter", round(link.jitter_p99_s * 1e3, 6), "ms", source, "max"),
        Metric("loss", link.loss, "ratio", source, "mean"),
        Metric("bandwidth", link.free_mbps, "Mbit/s", source, "min"),
    ]


def pool_metrics(cores: int, cores_used: int) -> list[Metric]:
    """A pool's level-0 computing metrics: declared minus held, which the platform counts itself."""
    used = min(max(cores_used, 0), cores)
    load = used / cores if cores else 1.0
    return [
        Metric("cores_free", float(cores - used), "cores", "aggregation"),
        Metric("cpu_load", round(load, 6), "ratio", "aggregation"),
    ]


def score(metric: Metric) -> float:
    """A level-0 value between 0 (at its worst bound or beyond) and 10 (at its best or beyond)."""
    worst, best = BOUNDS[metric.kind]
    return 10.0 * min(max((metric.value - worst) / (best - worst), 0.0), 1.0)


def level1(metrics: Iterable[Metric]) -> int | None:
    """One whole number 0-10 for a category; None where nothing is known."""
    scores = [score(metric) for metric in metrics]
    return half_up(sum(scores) / len(scores)) if scores else None


def level2(categories: Mapping[str, int | None]) -> int | None:
    """One whole number 0-10 of the categories that are known, by WEIGHTS."""
    known = [(WEIGHTS[name], value) for name, value in categories.items() if value is not None]
    total = sum(weight for weight, _ in known)
    return half_up(sum(weight * value for weight, value in known) / total) if known else None


def half_up(value: float) -> int:
    """The nearest whole number; half goes up."""
    return int(value + 0.5)


def normalised(kind: str, level: str, value: int) -> dict[str, Any]:
    """A level-1 or level-2 value as the draft writes it: one octet without a unit."""
    return {
        "metric_type": kind,
        "level": level,
        "format": "unsigned integer",
        "length": 1,
        "source": "normalization",
        "statistics": "cur",
        "value": value,
    }


def declaration() -> dict[str, Any]:
    """How scores are made, published beside them."""
    return {
        "window_s": WINDOW_S,
        "scores": "0-3 avoid, 4-7 optional, 8-10 prefer",
        "normalisation": "10 * clip((value - worst) / (best - worst), 0, 1)",
        "aggregation": "L1: mean of a category; L2: weighted mean of the categories known; both rounded half up",
        "bounds": {kind: {"worst": worst, "best": best} for kind, (worst, best) in BOUNDS.items()},
        "weights": dict(WEIGHTS),
        "decisions": "taken on L0 only",
    }
