"""Metering's tables: what attempts took, and what pools say that meter themselves."""

from metering.models.events import QuarantinedEvent, UsageBatch, UsageDirty, UsageEvent, UsageSeries
from metering.models.records import UsageRecord

__all__ = ["QuarantinedEvent", "UsageBatch", "UsageDirty", "UsageEvent", "UsageRecord", "UsageSeries"]
