"""What came in: payments with the invoices that they paid, and what still waits."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse

from billing.credit.payment_api import RecordedPaymentOut, payments_of
from billing.models import BankLine, GatewayPayment, Payment
from console.lists import PAGE, newest
from console.pages import Page
from core.money import text_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ


class PaymentList(Page):
    """The organization's payments (operators: all), newest first (`?before=<number>`), and what was begun at a gateway.

    Operators also see the newest bank lines that nobody could match.
    """

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/payments.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        found, before = newest(request, payments_of(self.caller).prefetch_related("allocations__invoice"))
        begun = GatewayPayment.objects.filter(state=GatewayPayment.State.OPEN).select_related("invoice__organization")
        queued = BankLine.objects.filter(state=BankLine.State.QUEUED) if self.caller.is_operator else BankLine.objects.none()
        if not self.caller.is_operator:
            begun = begun.filter(invoice__organization=self.caller.acting_for())
        context: dict[str, Any] = {"payments": [told(one) for one in found], "before": before}
        context |= {"begun": [(one, text_of(one.amount_micros)) for one in begun.order_by("-pk")[:PAGE]]}
        return self.show(context | {"queued": [(one, text_of(one.amount_micros)) for one in queued.order_by("-pk")[:PAGE]]})


def told(one: Payment) -> dict[str, Any]:
    """A payment as the API tells it, with its customer's name and the invoices that it paid."""
    invoices = [(part.invoice, text_of(part.amount_micros)) for part in one.allocations.all()]
    return dict(RecordedPaymentOut(one).data) | {"customer": one.organization.name, "invoices": invoices}
