"""Doors of subscriptions: owners say whose word they take for what they used; both sides read it. No rules in here."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import Q, QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.models import Subscription
from billing.periods.subscriptions import subscribe, unsubscribe
from core.errors import NotFound
from core.http import KeysetPages
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, ORGANIZATION_WRITE

NUMBER: Final = OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH)


class SubscriptionIn(In):
    pool = serializers.CharField(max_length=40, help_text="a pool's identifier")


class SubscriptionOut(Out):
    """In [from, to) what the pool reports of the organization is charged by the price lists then in force."""

    number = serializers.IntegerField(source="pk")
    organization = serializers.CharField(source="organization.slug")
    pool = serializers.CharField(source="pool.identifier")
    to = serializers.DateTimeField(source="valid.upper", allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(source="valid.lower")} | super().get_fields()


class Newest(KeysetPages):
    ordering = "-pk"


def subscriptions_of(caller: Caller) -> QuerySet[Subscription]:
    """The organization's own, and those of others to its pools; operators see all."""
    rows = Subscription.objects.select_related("organization", "pool")
    if caller.is_operator:
        return rows
    one = caller.acting_for()
    return rows.filter(Q(organization=one) | Q(pool__organization=one))


class SubscriptionsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": ORGANIZATION_WRITE}
    serializer_class = SubscriptionOut
    pagination_class = Newest

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return subscriptions_of(caller)

    @extend_schema(operation_id="subscriptions_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Which pools' own meters the organization pays by, and who pays by those of its pools. Newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="subscriptions_begin", request=SubscriptionIn, responses={201: SubscriptionOut})
    def post(self, request: Request) -> Response:
        """From now on pay for what the pool reports of the organization (docs/billing/prices.md)."""
        caller, given = caller_of(request), valid(SubscriptionIn(data=request.data))
        made = subscribe(caller.acting_for(), given["pool"], caller.user)
        return Response(SubscriptionOut(made).data, status=status.HTTP_201_CREATED)


class SubscriptionView(APIView):
    scopes: ClassVar[Scopes] = {"DELETE": ORGANIZATION_WRITE}

    @extend_schema(operation_id="subscriptions_end", parameters=[NUMBER], request=None, responses={200: SubscriptionOut})
    def delete(self, request: Request, number: int) -> Response:
        """End it now. What happened before is charged, whenever it is reported."""
        caller = caller_of(request)
        own = Subscription.objects.filter(organization=caller.acting_for(), pk=min(number, 2**63 - 1)).first()
        if own is None:
            raise NotFound("not_found", "no such subscription")
        return Response(SubscriptionOut(unsubscribe(own, caller.user)).data)


urlpatterns = [
    path("subscriptions", SubscriptionsView.as_view()),
    path("subscriptions/<int:number>", SubscriptionView.as_view()),
]
