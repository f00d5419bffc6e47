"""Payments' doors: what came in and what became of it; operators take back what bounced. No rules in here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import AmountOut
from billing.credit.reversing import reverse_payment
from billing.models import Payment
from core.errors import NotFound
from core.http import KeysetPages
from core.money import to_micros
from marketplace.api.lists import ListView
from marketplace.api.serializers import DecimalText, In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR

MAX_BIGINT: Final = 2**63 - 1
PAYMENT: Final = OpenApiParameter("payment", OpenApiTypes.INT, OpenApiParameter.PATH)


class PaidInvoiceOut(Out):
    """What a payment paid of an invoice."""

    invoice = serializers.IntegerField(source="invoice_id")
    amount = AmountOut(source="amount_micros")


class RecordedPaymentOut(Out):
    """A payment. `prepaid`: what no invoice took of it."""

    number = serializers.IntegerField(source="pk")
    organization = serializers.CharField(source="organization.slug")
    method = serializers.ChoiceField(Payment.Method.choices)
    reference = serializers.CharField()
    currency = serializers.CharField()
    amount = AmountOut(source="amount_micros")
    prepaid = AmountOut(source="prepaid_micros")
    received_on = serializers.DateField()
    recorded_at = serializers.DateTimeField()
    paid = PaidInvoiceOut(source="allocations", many=True, help_text="what it paid; less or nothing now, if it was reversed")
    reversed_at = serializers.DateTimeField(source="reversal.reversed_at", allow_null=True, default=None)
    reversed_amount = AmountOut(
        source="reversal.amount_micros", allow_null=True, default=None, help_text="what was taken back; null: it stands, whole"
    )
    reversed_with = serializers.IntegerField(
        source="reversal.with_payment_id", allow_null=True, default=None, help_text="the payment whose money the wallet had used"
    )
    reversal_reason = serializers.CharField(source="reversal.reason", default="", help_text="empty while it stands")


class ReverseIn(In):
    reason = serializers.CharField(max_length=300, help_text="why it is taken back; it is kept")
    amount = DecimalText(required=False, help_text="of a part; the whole payment when left out")


def payments_of(caller: Caller) -> QuerySet[Payment]:
    """Payments that a caller may see: an organization's own, for operators all."""
    rows = Payment.objects.select_related("organization", "reversal").prefetch_related("allocations")
    return rows if caller.is_operator else rows.filter(organization=caller.acting_for())


class AllPaymentsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = RecordedPaymentOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return payments_of(caller)

    @extend_schema(operation_id="payments_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The organization's payments (operators: all), newest first, those that were reversed too."""
        return super().get(request, *args, **kwargs)


class ReverseView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="payments_reverse", parameters=[PAYMENT], request=ReverseIn, responses=RecordedPaymentOut)
    def post(self, request: Request, payment: int) -> Response:
        """Take back a payment that bounced or was a mistake, or a part of it: what that paid is owed again. Once per payment."""
        given, caller = valid(ReverseIn(data=request.data)), caller_of(request)
        rows = payments_of(caller).filter(pk=min(payment, MAX_BIGINT))
        found = rows.first()
        if found is None:
            raise NotFound("not_found", "no such payment")
        micros = to_micros(Decimal(given["amount"])) if "amount" in given else None
        reverse_payment(found, given["reason"], caller.user, micros=micros)
        return Response(RecordedPaymentOut(rows.get()).data)


urlpatterns = [
    path("payments", AllPaymentsView.as_view()),
    path("payments/<int:payment>/reverse", ReverseView.as_view()),
]
