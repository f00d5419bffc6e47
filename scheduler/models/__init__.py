"""The scheduler's rows, by subject."""

from scheduler.models.trust import PoolEvent, Trust, Unjudged
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
    "Decision",
    "Ended",
    "LogChunk",
    "Need",
    "Output",
    "Pace",
    "PoolEvent",
    "ReportBatch",
    "Round",
    "Trust",
    "Unit",
    "Unjudged",
]
