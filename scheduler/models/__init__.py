"""The scheduler's rows, by subject."""

from scheduler.models.units import (
    Attempt,
    Decision,
    Ended,
    LogChunk,
    MarketPrice,
    Need,
    Output,
    Pace,
    Prediction,
    ReportBatch,
    Round,
    Unit,
)

__all__ = [
    "Attempt", "Decision", "Ended", "LogChunk", "MarketPrice", "Need", "Output", "Pace", "Prediction", "ReportBatch", "Round",
    "Unit",
]  # fmt: skip
