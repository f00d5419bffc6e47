"""Operators' doors to accounts' months: which are parked and why, and letting them go on."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import Prefetch, QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.invoices.freeing import free_months
from billing.models import BillingPeriod, FreedPeriod
from core.errors import Invalid
from core.http import KeysetPages
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR

MAX_BIGINT: Final = 2**63 - 1
PERIOD: Final = OpenApiParameter("billing_period", OpenApiTypes.INT, OpenApiParameter.PATH)


class FreedOut(Out):
    """That a month was let go on: what it had been parked for, and why no more."""

    parked_code = serializers.CharField()
    parked_detail = serializers.CharField()
    reason = serializers.CharField()
    freed_by = serializers.CharField(source="freed_by.username", allow_null=True, default=None)
    freed_at = serializers.DateTimeField()


class BillingPeriodOut(Out):
    """A month of an account."""

    number = serializers.IntegerField(source="pk")
    organization = serializers.CharField(source="organization.slug")
    currency = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    zone = serializers.CharField()
    state = serializers.ChoiceField(BillingPeriod.State.choices)
    parked_code = serializers.CharField(help_text="empty unless it is parked")
    parked_detail = serializers.CharField()
    freed = FreedOut(many=True, help_text="each time that it was let go on")


class FreeIn(In):
    reason = serializers.CharField(max_length=300, help_text="what was mended; it is kept")


def periods() -> QuerySet[BillingPeriod]:
    freed = FreedPeriod.objects.select_related("freed_by").order_by("pk")
    return BillingPeriod.objects.select_related("organization").prefetch_related(Prefetch("freed", freed))


class BillingPeriodsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR}
    serializer_class = BillingPeriodOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        state = self.request.query_params.get("state")
        if state is not None and state not in BillingPeriod.State.values:
            raise Invalid("invalid_parameter", f"state is one of {', '.join(BillingPeriod.State.values)}", field="state")
        return periods() if state is None else periods().filter(state=state)

    @extend_schema(
        operation_id="billing_periods_list", parameters=[OpenApiParameter("state", str, enum=BillingPeriod.State.values)]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Months of accounts, newest first; `state=parked`: those that wait for an operator."""
        return super().get(request, *args, **kwargs)


class FreeView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="billing_periods_free", parameters=[PERIOD], request=FreeIn, responses=BillingPeriodOut)
    def post(self, request: Request, billing_period: int) -> Response:
        """Let a parked month go on after mending; the next run closes it, or parks it anew."""
        given, number = valid(FreeIn(data=request.data)), min(billing_period, MAX_BIGINT)
        free_months([number], given["reason"], caller_of(request).user)
        return Response(BillingPeriodOut(periods().get(pk=number)).data)


urlpatterns = [
    path("billing-periods", BillingPeriodsView.as_view()),
    path("billing-periods/<int:billing_period>/free", FreeView.as_view()),
]
