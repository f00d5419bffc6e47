"""Credit's doors: what may still be spent, what is held for tasks, and operators' blocks. No rules in here."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import AmountOut
from core.errors import Invalid, NotFound
from core.http import KeysetPages
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Hold, Organization, SpendBlock
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR
from marketplace.services.credit import allowances_of, block_organizations, unblock_organizations


class AllowanceOut(Out):
    """available = limit + prepaid - unpaid - held; below zero when tasks cost more than was held for them."""

    currency = serializers.CharField()
    limit = AmountOut(source="limit_micros", help_text="of the contract, or the market's default")
    prepaid = AmountOut(source="prepaid_micros", help_text="the wallet: deposits and grants that are left")
    unpaid = AmountOut(source="unpaid_micros", help_text="charged and not paid")
    held = AmountOut(source="held_micros", help_text="set aside for tasks that are not charged yet")
    available = AmountOut(source="available_micros")


class BlockOut(Out):
    reason = serializers.CharField()
    detail = serializers.CharField()
    blocked_at = serializers.DateTimeField()


class CreditOut(Out):
    organization = serializers.CharField()
    allowances = AllowanceOut(many=True)
    blocks = BlockOut(many=True, help_text="while there are any, no task is taken")


class CreditView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="credit_retrieve", responses=CreditOut)
    def get(self, request: Request) -> Response:
        """What the organization may still spend, per currency, and why."""
        organization = caller_of(request).acting_for()
        blocks = SpendBlock.objects.filter(organization=organization, lifted_at=None).order_by("pk")
        found = {"organization": organization.slug, "allowances": allowances_of([organization.pk]), "blocks": blocks}
        return Response(CreditOut(found).data)


class HoldOut(Out):
    """What is set aside for a task. `captured`: charged out of it so far."""

    task = serializers.UUIDField(source="task_id")
    currency = serializers.CharField()
    amount = AmountOut(source="amount_micros")
    captured = AmountOut(source="captured_micros")
    state = serializers.ChoiceField(Hold.State.choices)
    by = serializers.ChoiceField(Hold.By.choices, help_text="what the amount follows from")
    held_at = serializers.DateTimeField()
    resolved_at = serializers.DateTimeField(allow_null=True)


class HoldsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = HoldOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        holds = Hold.objects.filter(organization=caller.acting_for())
        state = self.request.query_params.get("state")
        if state is not None and state not in Hold.State.values:
            raise Invalid("invalid_parameter", f"state is one of {', '.join(Hold.State.values)}", field="state")
        return holds if state is None else holds.filter(state=state)

    @extend_schema(operation_id="credit_holds_list", parameters=[OpenApiParameter("state", str, enum=Hold.State.values)])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What is, or was, set aside for the organization's tasks, newest first."""
        return super().get(request, *args, **kwargs)


class BlockIn(In):
    organization = serializers.SlugField(max_length=63)
    reason = serializers.RegexField(r"^[a-z][a-z0-9_]{0,39}\Z", help_text="a short name, one open block each")
    detail = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class LiftIn(In):
    organization = serializers.SlugField(max_length=63)
    reason = serializers.CharField(max_length=40)


class BlockedOut(Out):
    changed = serializers.BooleanField(help_text="false: it was so already")


def organization_named(slug: str) -> Organization:
    """Raises NotFound `organization_unknown`."""
    organization = Organization.objects.filter(slug=slug).first()
    if organization is None:
        raise NotFound("organization_unknown", "no such organization", field="organization")
    return organization


class BlocksView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="credit_block", request=BlockIn, responses={201: BlockedOut})
    def post(self, request: Request) -> Response:
        """Take no new tasks of an organization. What runs goes on."""
        given = valid(BlockIn(data=request.data))
        organization = organization_named(given["organization"])
        blocked = block_organizations([organization.pk], given["reason"], given["detail"])
        return Response({"changed": bool(blocked)}, status=status.HTTP_201_CREATED)


class LiftView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="credit_block_lift", request=LiftIn, responses=BlockedOut)
    def post(self, request: Request) -> Response:
        """Take tasks of an organization again, as far as this reason goes."""
        given = valid(LiftIn(data=request.data))
        organization = organization_named(given["organization"])
        return Response({"changed": bool(unblock_organizations([organization.pk], given["reason"]))})


urlpatterns = [
    path("credit", CreditView.as_view()),
    path("credit/holds", HoldsView.as_view()),
    path("credit/blocks", BlocksView.as_view()),
    path("credit/blocks/lift", LiftView.as_view()),
]
