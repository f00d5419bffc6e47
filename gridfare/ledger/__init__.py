"""Checking an export of the ledger without the platform: no network, no database, Python's own library alone."""

from __future__ import annotations

from gridfare.ledger.verify import Proved, Refuted, verify

__all__ = ["Proved", "Refuted", "verify"]
