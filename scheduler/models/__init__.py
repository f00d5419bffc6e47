"""The scheduler's rows, by subject."""

from scheduler.models.units import (
    Attempt,
    Decision,
    Ended,
    LogChunk,
    Need,
    Output,
    Pace,
    ReportBatch,
    Round,
    Trust,
    Unit,
    Unjudged,
)

__all__ = [
    "Attempt",
    "Decision",
    "Ended",
    "LogChunk",
    "Need",
    "Output",
    "Pace",
    "ReportBatch",
    "Round",
    "Trust",
    "Unit",
    "Unjudged",
]
