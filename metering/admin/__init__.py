"""Metering in the operators' pages."""

from metering.admin import events, reconciliations, records

__all__ = ["events", "reconciliations", "records"]
