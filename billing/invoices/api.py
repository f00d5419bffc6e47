"""Invoices' doors: an organization's own, as documents, files and down to their charges; operators' corrections."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import ByKey, ChargeOut
from billing.invoices import credit_notes, pages
from billing.invoices.closing import void_invoice
from billing.models import Charge, Invoice
from core.errors import NotFound
from core.money import text_of, to_micros
from marketplace.api.artifacts import AnyAccept
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR

INVOICE: Final = OpenApiParameter("invoice", OpenApiTypes.INT, OpenApiParameter.PATH)
LINE: Final = OpenApiParameter("line", OpenApiTypes.INT, OpenApiParameter.PATH, description="the line's number on the invoice")


def shown_to(caller: Caller) -> QuerySet[Invoice]:
    """The invoices that a caller may see: an organization's own, for operators all."""
    rows = Invoice.objects.select_related("organization", "period")
    return rows if caller.is_operator else rows.filter(organization=caller.acting_for())


def invoice_for(caller: Caller, number: int) -> Invoice:
    """An invoice that this caller may see; a stranger's is NotFound."""
    found = shown_to(caller).filter(pk=number).first()
    if found is None:
        raise NotFound("not_found", "no such invoice")
    return found


def invoice_of(request: Request, number: int) -> Invoice:
    return invoice_for(caller_of(request), number)


class InvoicePartyOut(Out):
    name = serializers.CharField()
    address = serializers.CharField()
    tax_number = serializers.CharField()


class InvoicePeriodOut(Out):
    to = serializers.DateTimeField()
    zone = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.DateTimeField()}  # a keyword cannot be an attribute


class InvoiceOut(Out):
    """An invoice. Amounts are decimal text; `net = exact + carried_in - carried_out - dropped`, `total = net + tax`."""

    id = serializers.IntegerField()
    number = serializers.CharField(allow_null=True, help_text="null until it is final")
    organization = serializers.CharField()
    state = serializers.ChoiceField(Invoice.State.choices)
    currency = serializers.CharField()
    period = InvoicePeriodOut()
    grace_until = serializers.DateTimeField(allow_null=True)
    issued_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()
    replaces = serializers.IntegerField(allow_null=True)
    bill_to = serializers.CharField()
    buyer = InvoicePartyOut(help_text="whom it is for, as they were when it became final; of a draft, as they are")
    issuer = InvoicePartyOut(help_text="who issued it; empty until it is final")
    exact = serializers.CharField()
    carried_in = serializers.CharField()
    carried_out = serializers.CharField()
    dropped = serializers.CharField()
    net = serializers.CharField()
    tax = serializers.CharField()
    total = serializers.CharField()
    paid = serializers.CharField()
    credited = serializers.CharField()
    open = serializers.CharField(help_text="still to be paid")


class InvoiceLineOut(Out):
    number = serializers.IntegerField()
    kind = serializers.CharField()
    is_correction = serializers.BooleanField()
    service_from = serializers.DateTimeField()
    service_to = serializers.DateTimeField()
    capability = serializers.CharField(allow_null=True)
    pool = serializers.CharField(allow_null=True)
    basis = serializers.CharField()
    charges = serializers.IntegerField()
    quantities = serializers.DictField(child=serializers.CharField())
    exact = serializers.CharField()
    amount = serializers.CharField()
    tax = serializers.CharField()


class InvoiceTaxOut(Out):
    tax = serializers.CharField()
    name = serializers.CharField()
    percent = serializers.CharField()
    base = serializers.CharField()
    amount = serializers.CharField()


class CreditNoteOut(Out):
    number = serializers.CharField()
    net = serializers.CharField()
    tax = serializers.CharField()
    reason = serializers.CharField()
    issued_at = serializers.DateTimeField()


class InvoicePaymentOut(Out):
    payment = serializers.IntegerField(help_text="the payment's number")
    method = serializers.CharField()
    received_on = serializers.DateField()
    amount = serializers.CharField()
    reversed = serializers.CharField(help_text="what of the amount was taken back")
    reversed_at = serializers.DateTimeField(allow_null=True, help_text="when the payment was reversed; null: it stands")


class NoticeOut(Out):
    level = serializers.IntegerField()
    action = serializers.CharField()
    owed = serializers.CharField()
    noticed_at = serializers.DateTimeField()


class InvoiceDocumentOut(InvoiceOut):
    lines = InvoiceLineOut(many=True)
    taxes = InvoiceTaxOut(many=True)
    credit_notes = CreditNoteOut(many=True)
    payments = InvoicePaymentOut(many=True)
    notices = NoticeOut(many=True)


class InvoicesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = InvoiceOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return shown_to(caller)

    @extend_schema(operation_id="invoices_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The organization's invoices (operators: all), oldest first. The running month's gathers, without lines."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response([pages.summary(invoice) for invoice in page])


class InvoiceView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="invoices_retrieve", parameters=[INVOICE], responses=InvoiceDocumentOut)
    def get(self, request: Request, invoice: int) -> Response:
        """An invoice with its lines, taxes, credit notes, payments and notices."""
        return Response(pages.document(invoice_of(request, invoice)))


class InvoiceFileIn(In):
    format = serializers.ChoiceField(["csv", "pdf"], default="pdf")
    language = serializers.ChoiceField(["en", "zh"], default="en")


class InvoiceFileView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="invoices_file",
        parameters=[
            INVOICE,
            OpenApiParameter("format", str, enum=["csv", "pdf"], default="pdf"),
            OpenApiParameter("language", str, enum=["en", "zh"], default="en"),
        ],
        responses={
            (200, "application/pdf"): OpenApiResponse(OpenApiTypes.BINARY),
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="a header and the lines"),
        },
    )
    def get(self, request: Request, invoice: int) -> Any:
        """An invoice as PDF, in English or Chinese, or its lines as CSV."""
        asked, found = valid(InvoiceFileIn(data=request.query_params.dict())), invoice_of(request, invoice)
        if asked["format"] == "csv":
            answer = HttpResponse(pages.csv_of(found), content_type="text/csv; charset=utf-8")
        else:
            answer = HttpResponse(pages.pdf_of(found, asked["language"]), content_type="application/pdf")
        name = found.number or f"draft-{found.pk}"
        answer["Content-Disposition"] = f'attachment; filename="{name}.{asked["format"]}"'
        answer["Cache-Control"] = "no-store"
        return answer


class LineChargesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = ChargeOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        invoice = invoice_of(self.request, self.kwargs["invoice"])
        line = invoice.lines.filter(number=self.kwargs["line"]).first()
        if line is None:
            raise NotFound("not_found", "this invoice has no such line")
        rows = Charge.objects.filter(invoiced__line=line)
        return rows.select_related("usage__pool", "entry", "provider", "publisher")

    @extend_schema(operation_id="invoices_lines_charges_list", parameters=[INVOICE, LINE])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The charges that a line is made of."""
        return super().get(request, *args, **kwargs)


class ReasonIn(In):
    reason = serializers.CharField(max_length=300)


class VoidView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="invoices_void", parameters=[INVOICE], request=ReasonIn, responses=InvoiceDocumentOut)
    def post(self, request: Request, invoice: int) -> Response:
        """Take back an invoice of which nothing was paid. The answer is the one that takes its place, in grace."""
        reason = valid(ReasonIn(data=request.data))["reason"]
        return Response(pages.document(void_invoice(invoice_of(request, invoice), reason)))


class GiveUpView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="invoices_give_up", parameters=[INVOICE], request=ReasonIn, responses=InvoiceDocumentOut)
    def post(self, request: Request, invoice: int) -> Response:
        """Give up an overdue invoice: what is open of it becomes the platform's loss."""
        reason = valid(ReasonIn(data=request.data))["reason"]
        credit_notes.give_up(invoice_of(request, invoice), reason)
        return Response(pages.document(invoice_of(request, invoice)))


class CreditedLineIn(In):
    line = serializers.IntegerField(min_value=1)
    net = serializers.DecimalField(max_digits=18, decimal_places=4, min_value=Decimal("0.0001"))


class CreditIn(In):
    lines = CreditedLineIn(many=True, allow_empty=False)
    reason = serializers.CharField(max_length=300)
    reference = serializers.CharField(max_length=80, help_text="names its cause: asking twice makes one note")


class CreditNotesView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(
        operation_id="invoices_credit_notes_create", parameters=[INVOICE], request=CreditIn, responses={201: CreditNoteOut}
    )
    def post(self, request: Request, invoice: int) -> Response:
        """Take back parts of lines of a final invoice, with their tax. What was paid already becomes prepaid balance."""
        given = valid(CreditIn(data=request.data))
        amounts = {line["line"]: to_micros(line["net"]) for line in given["lines"]}
        note = credit_notes.issue_credit_note(
            invoice_of(request, invoice), amounts, given["reason"], f"{invoice}/{given['reference']}"
        )
        told = {"number": note.number, "net": text_of(note.net_micros), "tax": text_of(note.tax_micros)}
        return Response(told | {"reason": note.reason, "issued_at": note.issued_at}, status=201)


urlpatterns = [
    path("invoices", InvoicesView.as_view()),
    path("invoices/<int:invoice>", InvoiceView.as_view()),
    path("invoices/<int:invoice>/file", InvoiceFileView.as_view()),
    path("invoices/<int:invoice>/lines/<int:line>/charges", LineChargesView.as_view()),
    path("invoices/<int:invoice>/void", VoidView.as_view()),
    path("invoices/<int:invoice>/give-up", GiveUpView.as_view()),
    path("invoices/<int:invoice>/credit-notes", CreditNotesView.as_view()),
]
