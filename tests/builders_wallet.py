"""Rows for stories about wallets: top-ups, grants, and invoices that are owed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from billing.credit.wallet import Gift, TopUp, give_grant, top_up
from billing.invoices.posting import post
from billing.models import Grant, Invoice, Payment
from marketplace.models import Organization
from tests.builders_invoices import APRIL, CENT, make_invoice, make_period

DAY: Final = timedelta(days=1)


def owe(organization: Organization, cents: int, **fields: Any) -> Invoice:
    """A final invoice and the receivable that it asks for."""
    number = Invoice.objects.filter(organization=organization).count()
    start = APRIL + number * DAY
    invoice = make_invoice(make_period(organization, start, start + DAY, **fields), cents=cents)
    sides = [("user_receivable", organization.pk, cents * CENT), ("platform_revenue", None, -cents * CENT)]
    post(f"charge/{invoice.pk}", "charge", APRIL, invoice.currency, sides)
    return invoice


def pay_in(organization: Organization, cents: int, key: str = "bank/1", now: datetime = APRIL, currency: str = "CNY") -> Payment:
    return top_up(TopUp(key, organization.pk, currency, cents * CENT), now)


def give(organization: Organization, cents: int, days: int, key: str = "", now: datetime = APRIL) -> Grant:
    return give_grant(Gift(key or f"welcome/{days}", organization.pk, "CNY", cents * CENT, now + days * DAY, "welcome"), now)
