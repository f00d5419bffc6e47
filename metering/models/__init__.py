"""Metering's tables: what attempts took, and what pools say that meter themselves."""

from metering.models.events import QuarantinedEvent, UsageBatch, UsageCorrection, UsageDirty, UsageEvent, UsageSeries
from metering.models.records import UsageRecord
from metering.models.rollups import UsageDay, UsageHour, UsageSubject

__all__ = [
    "QuarantinedEvent",
    "UsageBatch",
    "UsageCorrection",
    "UsageDay",
    "UsageDirty",
    "UsageEvent",
    "UsageHour",
    "UsageRecord",
    "UsageSeries",
    "UsageSubject",
]
