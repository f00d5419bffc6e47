"""Invoices: the list, one with everything that happened to it, and the charges that a line is made of."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse

from billing.api import ChargeOut
from billing.invoices import pages
from billing.invoices.api import invoice_for, shown_to
from billing.models import Charge, Invoice, InvoiceLine, PeriodCharge
from console.charges import month_of
from console.lists import newest
from console.pages import Page
from core.errors import NotFound
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ


class InvoiceList(Page):
    """The organization's invoices (operators: all), newest first; `?state=`, `?before=<number>`."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/invoices.html"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows, state = shown_to(self.caller), request.GET.get("state", "")
        if state in Invoice.State.values:
            rows = rows.filter(state=state)
        found, before = newest(request, rows)
        invoices = [pages.summary(one) | {"customer": one.organization.name} for one in found]
        return self.show({"invoices": invoices, "before": before, "states": Invoice.State.values, "chosen": state})


class OneInvoice(Page):
    """An invoice with its lines, taxes, payments, credit notes and notices, and links to its files."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/invoice.html"

    def get(self, request: HttpRequest, invoice: int) -> HttpResponse:
        found = invoice_for(self.caller, invoice)
        instead = Invoice.objects.filter(replaces=found).values_list("pk", flat=True).first()
        return self.show({"invoice": pages.document(found) | {"path": str(found.pk)}, "instead": instead})


class OneLine(Page):
    """The charges of a line, newest first: of tasks by `?before=<number>`, and of whole months."""

    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    template_name = "console/invoice_line.html"

    def get(self, request: HttpRequest, invoice: int, line: int) -> HttpResponse:
        found = invoice_for(self.caller, invoice)
        of = found.lines.filter(number=line).first()
        if of is None:
            raise NotFound("not_found", "this invoice has no such line")
        told = next(one for one in pages.document(found)["lines"] if one["number"] == line)
        return self.show({"invoice": pages.summary(found), "line": told} | self._charges(of))

    def _charges(self, line: InvoiceLine) -> dict[str, Any]:
        charges = Charge.objects.filter(invoiced__line=line).select_related("usage__pool", "entry", "provider", "publisher")
        found, before = newest(self.request, charges)
        months = PeriodCharge.objects.filter(invoiced__line=line).select_related(*PeriodCharge.SHOWN)
        shown = ChargeOut(found, many=True).data
        return {"charges": shown, "before": before, "months": [month_of(one) for one in months.order_by("pk")]}
