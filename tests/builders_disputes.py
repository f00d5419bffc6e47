"""Disputes about charges that stand on an invoice, or on none yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from billing.disputes.deciding import Decision, decide
from billing.disputes.opening import Opening, open_disputes
from billing.models import Charge, Dispute, Invoice, InvoicedCharge
from marketplace.models import Organization
from tests.builders_billing import Market
from tests.builders_invoices import APRIL, CENT, make_invoice, make_period, move_to
from tests.builders_settlement import DAY

OPENED: Final = APRIL + DAY


def a_dispute(market: Market, *charges: Charge, at: datetime = OPENED) -> Dispute:
    """alice doubts these charges, all of one provider and publisher."""
    opening = Opening(market.alice, "wrong_result", "half of the frames are black")
    (made,) = open_disputes(opening, [one.pk for one in charges], at)
    return made


def disputed(customer: Organization, charge: Charge) -> Dispute:
    """A dispute about one charge, opened a day after it was made."""
    (made,) = open_disputes(Opening(customer, "other", "what is this?"), [charge.pk], charge.charged_at + DAY)
    return made


def decided(dispute: Dispute, outcome: str = "upheld", micros: int | None = None, at: datetime | None = None) -> Dispute:
    """An operator's word about it."""
    (made,) = decide([Decision(dispute.pk, outcome, "so it is", micros)], None, at or OPENED + DAY)
    return made


def on_a_line(charges: Sequence[Charge], state: str = "finalized") -> Invoice:
    """An invoice whose one line is what these charges come to, led to a state."""
    cents = sum(one.amount_micros for one in charges) // CENT
    invoice = make_invoice(make_period(charges[0].organization), "grace", cents)
    line = invoice.lines.get()
    InvoicedCharge.objects.bulk_create(InvoicedCharge(charge=charge, line=line) for charge in charges)
    for move in ("finalized",) if state == "finalized" else ("finalized", state):
        move_to(invoice, move)
    return invoice
