"""Money that comes in: operators record payments and bank statements, a gateway says how its payments ended."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import ByKey
from billing.invoices import bank, gateways, payments
from billing.invoices.api import INVOICE, invoice_of
from billing.models import BankLine, GatewayPayment, Invoice
from core.errors import Invalid, NotFound
from core.money import text_of
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR, PUBLIC

MOST_BYTES: Final = 10 * 2**20


class PaymentIn(In):
    amount = serializers.DecimalField(max_digits=20, decimal_places=6, min_value=Decimal("0.000001"))
    reference = serializers.CharField(max_length=80, help_text="names its source: the same counts once")
    received_on = serializers.DateField(required=False, help_text="default: today")


class PaymentOut(Out):
    id = serializers.IntegerField()
    amount = serializers.CharField()
    prepaid = serializers.CharField(help_text="what of it the invoice did not take")


class PaymentsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="invoices_payments_create", parameters=[INVOICE], request=PaymentIn, responses={201: PaymentOut})
    def post(self, request: Request, invoice: int) -> Response:
        """Record money that came in for an invoice, whole or in part; what is too much becomes prepaid balance."""
        given, found = valid(PaymentIn(data=request.data)), invoice_of(request, invoice)
        day: date = given.get("received_on") or timezone.now().date()
        receipt = payments.Receipt(
            key=f"operator/{given['reference']}",
            organization=found.organization_id,
            currency=found.currency,
            micros=payments.micros_in(given["amount"], found.currency),
            method="operator",
            received_on=day,
            invoices=[found.pk],
            reference=given["reference"],
            by=caller_of(request).user,
        )
        payment = payments.record_payment(receipt)
        told = {"id": payment.pk, "amount": text_of(payment.amount_micros), "prepaid": text_of(payment.prepaid_micros)}
        return Response(told, status=201)


class GatewayPaymentOut(Out):
    gateway = serializers.CharField()
    key = serializers.CharField(help_text="under which the gateway knows it")
    amount = serializers.CharField()
    state = serializers.ChoiceField(GatewayPayment.State.choices)


def _told(payment: GatewayPayment) -> dict[str, Any]:
    amount = text_of(payment.amount_micros)
    return {"gateway": payment.gateway, "key": payment.key, "amount": amount, "state": payment.state}


class GatewayPaymentsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": BILLING_READ}

    @extend_schema(
        operation_id="invoices_gateway_payments_create", parameters=[INVOICE], request=None, responses={201: GatewayPaymentOut}
    )
    def post(self, request: Request, invoice: int) -> Response:
        """Begin to pay what is open of an invoice at the gateway. While one is open, that one is returned."""
        return Response(_told(gateways.begin_payment(invoice_of(request, invoice))), status=201)


class GatewayWordIn(In):
    key = serializers.CharField()
    status = serializers.ChoiceField(["succeeded", "failed"])
    amount = serializers.CharField()


class GatewayCallbackView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PUBLIC}

    @extend_schema(
        operation_id="gateways_callback",
        parameters=[
            OpenApiParameter("gateway", str, OpenApiParameter.PATH),
            OpenApiParameter("X-Signature", str, OpenApiParameter.HEADER, description="HMAC-SHA256 of the body, hexadecimal"),
        ],
        request=GatewayWordIn,
        responses=GatewayPaymentOut,
    )
    def post(self, request: Request, gateway: str) -> Response:
        """The gateway's signed word on how a payment ended. Told again, nothing changes."""
        return Response(_told(gateways.take_word(gateway, request.body, request.headers.get("X-Signature", ""))))


class BankLineOut(Out):
    id = serializers.IntegerField(source="pk")
    reference = serializers.CharField()
    booked_on = serializers.DateField()
    amount = serializers.SerializerMethodField()
    currency = serializers.CharField()
    payer = serializers.CharField()
    remittance = serializers.CharField()
    state = serializers.ChoiceField(BankLine.State.choices)
    why = serializers.CharField(help_text="why it is queued: no_invoice, several_invoices, not_owed, other_currency")

    def get_amount(self, line: BankLine) -> str:
        return text_of(line.amount_micros)


class BankStatementIn(In):
    content = serializers.CharField(max_length=MOST_BYTES, trim_whitespace=False, help_text="the file's text: CAMT.053 or CSV")
    name = serializers.CharField(max_length=200)


class BankStatementOut(Out):
    id = serializers.IntegerField()
    matched = serializers.IntegerField()
    queued = serializers.IntegerField()


class BankStatementsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="bank_statements_create", request=BankStatementIn, responses={201: BankStatementOut})
    def post(self, request: Request) -> Response:
        """Import a bank's statement, whole or not at all; the same file again changes nothing."""
        given = valid(BankStatementIn(data=request.data))
        statement = bank.import_statement(given["content"].encode(), given["name"], caller_of(request).user)
        states = list(statement.lines.values_list("state", flat=True))
        told = {"id": statement.pk, "matched": states.count("matched"), "queued": states.count("queued")}
        return Response(told, status=201)


class BankLinesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR}
    serializer_class = BankLineOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return BankLine.objects.filter(state=BankLine.State.QUEUED)

    @extend_schema(operation_id="bank_lines_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What came in and nobody can tell what for: lines that wait for a person."""
        return super().get(request, *args, **kwargs)


class SettleIn(In):
    invoice = serializers.IntegerField(allow_null=True, help_text="what it pays; null: it is no payment of ours")


class BankLineView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(
        operation_id="bank_lines_settle",
        parameters=[OpenApiParameter("bank_line", OpenApiTypes.INT, OpenApiParameter.PATH)],
        request=SettleIn,
        responses=BankLineOut,
    )
    def post(self, request: Request, bank_line: int) -> Response:
        """A person's word on a line that waits."""
        given = valid(SettleIn(data=request.data))["invoice"]
        line = BankLine.objects.filter(pk=bank_line).first()
        if line is None:
            raise NotFound("not_found", "no such line")
        invoice = None if given is None else Invoice.objects.filter(pk=given).first()
        if given is not None and invoice is None:
            raise Invalid("invoice_unknown", "no such invoice", field="invoice")
        return Response(BankLineOut(bank.settle_line(line, invoice, caller_of(request).user)).data)


urlpatterns = [
    path("invoices/<int:invoice>/payments", PaymentsView.as_view()),
    path("invoices/<int:invoice>/gateway-payments", GatewayPaymentsView.as_view()),
    path("gateways/<str:gateway>/callback", GatewayCallbackView.as_view()),
    path("bank-statements", BankStatementsView.as_view()),
    path("bank-lines", BankLinesView.as_view()),
    path("bank-lines/<int:bank_line>/settle", BankLineView.as_view()),
]
