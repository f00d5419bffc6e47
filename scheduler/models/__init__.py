"""The scheduler's rows, by subject."""

from scheduler.models.faults import Checkpoint
from scheduler.models.network import NetworkLink, NetworkNode, Probe, RegionEndpoint, Reservation
from scheduler.models.trust import Commitment, PoolEvent, Recheck, Trust, Unjudged
from scheduler.models.units import (
    Attempt,
    Decision,
    Ended,
    KeptScene,
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
    "Attempt",
    "Checkpoint",
    "Commitment",
    "Decision",
    "Ended",
    "KeptScene",
    "LogChunk",
    "MarketPrice",
    "Need",
    "NetworkLink",
    "NetworkNode",
    "Output",
    "Pace",
    "PoolEvent",
    "Prediction",
    "Probe",
    "Recheck",
    "RegionEndpoint",
    "ReportBatch",
    "Reservation",
    "Round",
    "Trust",
    "Unit",
    "Unjudged",
]
