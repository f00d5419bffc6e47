"""Metering in the operators' pages."""

from metering.admin import events, records

__all__ = ["events", "records"]
