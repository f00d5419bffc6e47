"""Metering's tables: what attempts took, and what pools say that meter themselves."""

from metering.models.events import QuarantinedEvent, UsageBatch, UsageCorrection, UsageDirty, UsageEvent, UsageSeries
from metering.models.reconciliations import Reconciliation, ReconciliationRow, ReconciliationRun, ReportedCounter
from metering.models.records import UsageRecord
from metering.models.rollups import UsageDay, UsageHour, UsageSubject

__all__ = [
    "QuarantinedEvent",
    "Reconciliation",
    "ReconciliationRow",
    "ReconciliationRun",
    "ReportedCounter",
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
