"""Charges that a customer paid, and payouts made of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from billing.invoices.posting import post
from billing.models import BillingPeriod, Charge, Invoice, InvoicedCharge, Payout
from billing.settlement.payouts import gather
from marketplace.models import Organization, Task
from tests.builders_billing import Market, make_attempt, make_market, make_need, make_task, make_usage
from tests.builders_invoices import APRIL, MARCH, make_invoice, make_period, move_to

DAY: Final = timedelta(days=1)
UNIT: Final = 1_000_000
LATER: Final = APRIL + 8 * DAY  # a week and a day after an invoice of March was paid


def a_share(
    market: Market, provider: int, publisher: int = 0, *, payer: str = "user", kind: str = "usage", at: datetime = MARCH + DAY
) -> Charge:
    """A posted charge that is split so, in micros; nothing for the platform."""
    task = make_task(market)
    usage = make_usage(market, task, make_attempt(market, task, make_need())) if kind != "fee" else None
    amount = provider + publisher
    entry = post(f"shares/{task.pk}", "usage", at, "CNY", [
        ("user_receivable", market.alice.pk, amount) if payer == "user" else ("platform_cost", None, amount),
        ("provider_payable", market.bob.pk, -provider), ("publisher_payable", market.carol.pk, -publisher),
    ])  # fmt: skip
    return Charge.objects.create(
        kind=kind, usage=usage, task=task, organization=market.alice, provider=market.bob, publisher=market.carol, payer=payer,
        reason="valid/delivered", currency="CNY", amount_micros=amount, provider_micros=provider, publisher_micros=publisher,
        entry=entry, charged_at=at,
    )  # fmt: skip


def invoiced(*charges: Charge, state: str = "paid") -> Invoice:
    """An invoice of these charges, led to a state; it was paid when April began."""
    (organization,) = {charge.organization for charge in charges}
    first = BillingPeriod.objects.filter(organization=organization).order_by("starts_at").first()
    end = first.starts_at if first else APRIL  # months of one organization do not overlap
    invoice = make_invoice(make_period(organization, end - 31 * DAY, end), "grace")
    line = invoice.lines.get()
    InvoicedCharge.objects.bulk_create(InvoicedCharge(charge=charge, line=line) for charge in charges)
    for move in ("finalized",) if state == "finalized" else ("finalized", state):
        move_to(invoice, move)
    return invoice


def a_payout(payee: Organization, micros: int = 25 * UNIT, task: Task | None = None) -> Payout:
    """A draft that pays a provider one share of a charge: of a task that is there, or of one in a market of its own."""
    if task is None:
        market = make_market()
        market.bob = payee
        charge = a_share(market, micros)
    else:
        charge = a_fee(task, payee, micros)
    invoiced(charge)
    gather(LATER)
    return Payout.objects.get(organization=payee, state="draft")


def a_fee(task: Task, payee: Organization, micros: int) -> Charge:
    """A posted charge of a task, all of it a provider's."""
    sides = [("user_receivable", task.organization_id, micros), ("provider_payable", payee.pk, -micros)]
    return Charge.objects.create(
        kind="fee", task=task, organization=task.organization, provider=payee, payer="user", reason="fee/delivered",
        publisher=task.capability_version.capability.organization, currency="CNY", amount_micros=micros, provider_micros=micros,
        entry=post(f"shares/{task.pk}", "fee", MARCH + DAY, "CNY", sides), charged_at=MARCH + DAY,
    )  # fmt: skip
