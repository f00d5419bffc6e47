"""What is owed, to whom, and the proof: charges, a double-entry journal that PostgreSQL keeps balanced, its seals, invoices.

`migrations/sql/` holds the triggers: entries sum to zero at commit, rows are never updated or deleted, invoices freeze.
"""

from __future__ import annotations

from billing.models.charges import Charge, CostSoFar
from billing.models.invoices import (
    BillingPeriod,
    CreditNote,
    CreditNoteLine,
    Invoice,
    InvoicedCharge,
    InvoiceLine,
    InvoiceTax,
    Series,
)
from billing.models.journal import Account, JournalEntry, Leg
from billing.models.payments import BankLine, BankStatement, DunningNotice, GatewayPayment, Payment, PaymentAllocation
from billing.models.seals import AccountBalance, LedgerAlarm, LedgerSeal, SealedEntry
from billing.models.taxes import Tax, TaxAssignment, TaxRate

__all__ = [
    "Account", "AccountBalance", "BankLine", "BankStatement", "BillingPeriod", "Charge", "CostSoFar", "CreditNote",
    "CreditNoteLine", "DunningNotice", "GatewayPayment", "Invoice", "InvoiceLine", "InvoiceTax", "InvoicedCharge", "JournalEntry",
    "LedgerAlarm", "LedgerSeal", "Leg", "Payment", "PaymentAllocation", "SealedEntry", "Series", "Tax", "TaxAssignment", "TaxRate",
]  # fmt: skip
