"""The wallet's doors: what moved in it, grants; operators pay in and give. No rules in here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import AmountOut
from billing.credit.api import organization_named
from billing.credit.wallet import Gift, TopUp, give_grant, top_up
from billing.models import Grant, Leg
from core.http import KeysetPages
from core.money import text_of, to_micros
from marketplace.api.lists import ListView
from marketplace.api.serializers import DecimalText, In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR

SOURCES = {"user_prepaid": "prepaid", "user_grant": "grant"}


class MovementOut(Out):
    """Money that came into the wallet (above zero) or left it (below)."""

    number = serializers.IntegerField(source="pk")
    at = serializers.DateTimeField(source="entry.posted_at")
    kind = serializers.CharField(source="entry.kind", help_text="payment, grant, settle, expire, credit_note ...")
    source = serializers.SerializerMethodField(help_text="prepaid or grant")  # type: ignore[assignment]  # a field of that name
    currency = serializers.CharField(source="account.currency")
    amount = serializers.SerializerMethodField(help_text="decimal text, with its sign")
    entry = serializers.CharField(source="entry.key", help_text="the journal entry that posted it")

    def get_source(self, leg: Leg) -> str:
        return SOURCES[leg.account.kind]

    def get_amount(self, leg: Leg) -> str:
        return text_of(leg.credit_micros - leg.debit_micros)


class GrantOut(Out):
    """Credit that was given. `left`: not used and not expired."""

    number = serializers.IntegerField(source="pk")
    reference = serializers.CharField(source="key")
    currency = serializers.CharField()
    amount = AmountOut(source="amount_micros")
    left = AmountOut(source="left_micros")
    expires_at = serializers.DateTimeField()
    reason = serializers.CharField()
    granted_at = serializers.DateTimeField()


class MoneyIn(In):
    reference = serializers.RegexField(r"^[\x21-\x7e]{1,80}\Z", help_text="names the source: the same counts once")
    organization = serializers.SlugField(max_length=63)
    amount = DecimalText()
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", required=False)


class GrantIn(MoneyIn):
    expires_at = serializers.DateTimeField()
    reason = serializers.CharField(max_length=200)


class TopUpIn(MoneyIn):
    pass


class TopUpOut(Out):
    """Money that was recorded for a wallet."""

    number = serializers.IntegerField(source="pk")
    reference = serializers.CharField(source="key")
    currency = serializers.CharField()
    amount = AmountOut(source="amount_micros")
    recorded_at = serializers.DateTimeField()


def movements_of(caller: Caller) -> QuerySet[Leg]:
    legs = Leg.objects.filter(account__organization=caller.acting_for(), account__kind__in=SOURCES)
    return legs.select_related("entry", "account")


def _given(request: Request, given: dict[str, Any]) -> dict[str, Any]:
    """What top-ups and grants share, as the services take it."""
    return {
        "key": given["reference"],
        "organization": organization_named(given["organization"]).pk,
        "currency": given.get("currency", settings.CURRENCY),
        "micros": to_micros(Decimal(given["amount"])),
        "by": caller_of(request).user,
    }


class MovementsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = MovementOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return movements_of(caller)

    @extend_schema(operation_id="credit_movements_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What came into the organization's wallet and what left it, newest first."""
        return super().get(request, *args, **kwargs)


class GrantsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": OPERATOR}
    serializer_class = GrantOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return Grant.objects.filter(organization=caller.acting_for())

    @extend_schema(operation_id="credit_grants_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Credit that the organization was given, newest first, used and expired grants too."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="credit_grant", request=GrantIn, responses={201: GrantOut})
    def post(self, request: Request) -> Response:
        """Give an organization credit until a moment. It pays what is owed at once, later invoices before prepaid money does."""
        given = valid(GrantIn(data=request.data))
        ends = {"expires_at": given["expires_at"], "reason": given["reason"]}
        return Response(GrantOut(give_grant(Gift(**_given(request, given), **ends))).data, status=status.HTTP_201_CREATED)


class TopUpsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="credit_top_up", request=TopUpIn, responses={201: TopUpOut})
    def post(self, request: Request) -> Response:
        """Record money that came in for an organization's wallet. What it owes is paid from it at once."""
        payment = top_up(TopUp(**_given(request, valid(TopUpIn(data=request.data)))))
        return Response(TopUpOut(payment).data, status=status.HTTP_201_CREATED)


urlpatterns = [
    path("credit/movements", MovementsView.as_view()),
    path("credit/grants", GrantsView.as_view()),
    path("credit/top-ups", TopUpsView.as_view()),
]
