"""The scheduler's rows, by subject."""

from scheduler.models.faults import Checkpoint
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
    Unit,
)

__all__ = [
    "Attempt",
    "Checkpoint",
    "Decision",
    "Ended",
    "LogChunk",
    "Need",
    "Output",
    "Pace",
    "ReportBatch",
    "Round",
    "Unit",
]
