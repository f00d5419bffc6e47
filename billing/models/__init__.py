"""What is owed, to whom, and the proof: charges of tasks and periods, a balanced journal, its seals, invoices, payments, payouts.

`migrations/sql/` holds the triggers: entries sum to zero at commit, rows are never updated or deleted, invoices freeze.
"""

from __future__ import annotations

from billing.models.charges import Charge, CostSoFar
from billing.models.disputes import Dispute, DisputedCharge, DisputeMessage
from billing.models.exports import Export
from billing.models.grants import Grant, GrantMove
from billing.models.invoices import (
    BillingPeriod,
    CreditNote,
    CreditNoteLine,
    FreedPeriod,
    Invoice,
    InvoicedCharge,
    InvoicedPeriod,
    InvoiceLine,
    InvoiceTax,
    Series,
)
from billing.models.journal import Account, JournalEntry, Leg
from billing.models.payments import (
    BankLine,
    BankStatement,
    DunningNotice,
    GatewayPayment,
    Payment,
    PaymentAllocation,
    PaymentReversal,
    ReversedAllocation,
)
from billing.models.periods import BudgetedPeriod, ParkedPeriod, PeriodCharge, PeriodPreview, PeriodSubject, RatedMonth
from billing.models.reserves import ReserveRelease, ReserveTerms, Withholding
from billing.models.seals import AccountBalance, LedgerAlarm, LedgerSeal, SealedEntry
from billing.models.settlement import Payout, PayoutAttempt, PayoutLine, PayoutRun, SandboxTransfer
from billing.models.sla import SLACredit, SLADay, SLAMeasurement, SLATerms
from billing.models.subscriptions import Subscription
from billing.models.taxes import Tax, TaxAssignment, TaxRate

__all__ = [
    "Account",
    "AccountBalance",
    "BankLine",
    "BankStatement",
    "BillingPeriod",
    "BudgetedPeriod",
    "Charge",
    "CostSoFar",
    "CreditNote",
    "CreditNoteLine",
    "Dispute",
    "DisputeMessage",
    "DisputedCharge",
    "DunningNotice",
    "Export",
    "FreedPeriod",
    "GatewayPayment",
    "Grant",
    "GrantMove",
    "Invoice",
    "InvoiceLine",
    "InvoiceTax",
    "InvoicedCharge",
    "InvoicedPeriod",
    "JournalEntry",
    "LedgerAlarm",
    "LedgerSeal",
    "Leg",
    "ParkedPeriod",
    "Payment",
    "PaymentAllocation",
    "PaymentReversal",
    "Payout",
    "PayoutAttempt",
    "PayoutLine",
    "PayoutRun",
    "PeriodCharge",
    "PeriodPreview",
    "PeriodSubject",
    "RatedMonth",
    "ReserveRelease",
    "ReserveTerms",
    "ReversedAllocation",
    "SLACredit",
    "SLADay",
    "SLAMeasurement",
    "SLATerms",
    "SandboxTransfer",
    "SealedEntry",
    "Series",
    "Subscription",
    "Tax",
    "TaxAssignment",
    "TaxRate",
    "Withholding",
]
