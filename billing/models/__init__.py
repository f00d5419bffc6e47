"""What is owed, to whom, and the proof: charges of tasks and of periods, a journal that PostgreSQL keeps balanced, its seals.

`migrations/sql/` holds the triggers: entries sum to zero at commit, rows are never updated or deleted.
"""

from __future__ import annotations

from billing.models.charges import Charge, CostSoFar
from billing.models.journal import Account, JournalEntry, Leg
from billing.models.periods import ParkedPeriod, PeriodCharge, PeriodPreview, PeriodSubject
from billing.models.seals import AccountBalance, LedgerAlarm, LedgerSeal, SealedEntry

__all__ = [
    "Account",
    "AccountBalance",
    "Charge",
    "CostSoFar",
    "JournalEntry",
    "LedgerAlarm",
    "LedgerSeal",
    "Leg",
    "ParkedPeriod",
    "PeriodCharge",
    "PeriodPreview",
    "PeriodSubject",
    "SealedEntry",
]
