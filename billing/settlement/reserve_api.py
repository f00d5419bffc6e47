"""Doors of reserves: what is kept back of payouts and when it is released; operators agree on terms. No rules in here."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import AmountOut
from billing.credit.api import organization_named
from billing.models import ReserveTerms
from billing.settlement import reserves
from billing.settlement.reserves import Terms
from core.http import KeysetPages
from core.money import text_of
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Organization
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR


class ReserveOut(Out):
    """What one payout kept back, and what became of it."""

    number = serializers.IntegerField(source="pk")
    organization = serializers.CharField(source="organization.slug")
    payout = serializers.IntegerField(source="payout_id")
    currency = serializers.CharField()
    base = AmountOut(source="base_micros", help_text="what the payout came to, without what was released into it")
    basis_points = serializers.IntegerField()
    amount = AmountOut(source="amount_micros")
    drawn = AmountOut(help_text="released early, as the payee owed something")
    released = AmountOut(help_text="released when the days were over")
    left = AmountOut()
    state = serializers.ChoiceField(
        reserves.STATES, help_text="pending: the payout is not paid yet; cancelled: it was given up, nothing was kept back"
    )
    withheld_at = serializers.DateTimeField()
    release_at = serializers.DateTimeField()


class ReserveBalanceOut(Out):
    currency = serializers.CharField()
    held = serializers.CharField(help_text="kept back of payouts that are paid")
    pending = serializers.CharField(help_text="of payouts that are not paid yet")
    next_release_at = serializers.DateTimeField(allow_null=True)


class ReserveTermsOut(Out):
    number = serializers.IntegerField(source="pk")
    organization = serializers.CharField(source="organization.slug")
    basis_points = serializers.IntegerField()
    days = serializers.IntegerField()
    starts_at = serializers.DateTimeField()
    note = serializers.CharField()
    agreed_at = serializers.DateTimeField()


class ReserveTermsIn(In):
    organization = serializers.SlugField(max_length=63)
    basis_points = serializers.IntegerField(help_text="of what a payout comes to; 1000 is a tenth, 0 keeps nothing back")
    days = serializers.IntegerField(help_text="from the run on, until it is released")
    starts_at = serializers.DateTimeField(required=False, help_text="now when left out; not before now")
    note = serializers.CharField(max_length=300, required=False, default="", allow_blank=True)


def whose(caller: Caller) -> Organization | None:
    """Whose reserves a caller sees: an organization's own, for operators all (None)."""
    return None if caller.is_operator else caller.acting_for()


class ReservesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = ReserveOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return reserves.reserves_of(whose(caller))

    @extend_schema(operation_id="reserves_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What was kept back of the organization's payouts (operators: everybody's), newest first."""
        return super().get(request, *args, **kwargs)


class ReserveBalancesView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="reserves_balances", responses=ReserveBalanceOut(many=True))
    def get(self, request: Request) -> Response:
        """What is kept back of the organization's payouts, by currency."""
        return Response([balance(one) for one in reserves.balances_of(caller_of(request).acting_for())])


def balance(one: dict[str, Any]) -> dict[str, Any]:
    """A balance as ReserveBalanceOut."""
    return one | {name: text_of(one[name]) for name in ("held", "pending")}


class ReserveTermsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": OPERATOR}
    serializer_class = ReserveTermsOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return reserves.terms_of(whose(caller))

    @extend_schema(operation_id="reserve_terms_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Terms of the organization's reserve (operators: everybody's), newest first; without any the platform's hold."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="reserve_terms_create", request=ReserveTermsIn, responses={201: ReserveTermsOut})
    def post(self, request: Request) -> Response:
        """Agree on a payee's reserve from a moment on. The same again changes nothing."""
        given = valid(ReserveTermsIn(data=request.data))
        terms = Terms(given["basis_points"], given["days"], given.get("starts_at"), given["note"])
        made: ReserveTerms = reserves.agree_terms(organization_named(given["organization"]), terms, caller_of(request).user)
        return Response(ReserveTermsOut(made).data, status=201)


urlpatterns = [
    path("reserves", ReservesView.as_view()),
    path("reserves/balances", ReserveBalancesView.as_view()),
    path("reserve-terms", ReserveTermsView.as_view()),
]
