"""Contracts' doors: operators sign, organizations read their own."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import NotFound
from core.http import KeysetPages
from core.money import text_of, to_micros
from marketplace.api.lists import ListView
from marketplace.api.serializers import DecimalText, In, Out, valid
from marketplace.auth import Caller
from marketplace.models import Contract, Organization
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, OPERATOR
from marketplace.services.contracts import Draft, sign_contracts


class ContractIn(In):
    """A contract to be signed; what is left out are the market's defaults."""

    organization = serializers.SlugField(max_length=63)
    start = serializers.DateTimeField(required=False, allow_null=True, help_text="in force from then on; default: now")
    zone = serializers.CharField(max_length=50, required=False, help_text="IANA, for example Europe/Berlin")
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", required=False)
    grace_days = serializers.IntegerField(min_value=0, max_value=31, required=False)
    due_days = serializers.IntegerField(min_value=0, max_value=365, required=False)
    credit_limit = DecimalText(required=False)
    platform_basis_points = serializers.IntegerField(min_value=0, max_value=10_000, required=False)
    carries_remainder = serializers.BooleanField(default=True)
    note = serializers.CharField(max_length=300, required=False, allow_blank=True)


class ContractOut(Out):
    """One version of an organization's terms; the next one ends it."""

    number = serializers.IntegerField(source="pk")
    organization = serializers.CharField(source="organization.slug")
    valid_from = serializers.DateTimeField(source="valid.lower")
    valid_to = serializers.DateTimeField(source="valid.upper", allow_null=True)
    zone = serializers.CharField()
    currency = serializers.CharField()
    grace_days = serializers.IntegerField()
    due_days = serializers.IntegerField()
    credit_limit = serializers.SerializerMethodField(help_text="null: the market's default")
    platform_basis_points = serializers.IntegerField(allow_null=True, help_text="null: the market's default")
    carries_remainder = serializers.BooleanField()
    note = serializers.CharField()
    signed_at = serializers.DateTimeField()

    def get_credit_limit(self, contract: Contract) -> str | None:
        return None if contract.credit_limit_micros is None else text_of(contract.credit_limit_micros)


class Newest(KeysetPages):
    ordering = "-pk"


class ContractsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": OPERATOR}
    serializer_class = ContractOut
    pagination_class = Newest

    def rows(self, caller: Caller) -> QuerySet[Any]:
        rows = Contract.objects.select_related("organization")
        return rows if caller.is_operator else rows.filter(organization=caller.acting_for())

    @extend_schema(operation_id="contracts_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The organization's contracts, newest first; operators see all. Without one the market's defaults hold."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="contracts_create", request=ContractIn, responses={201: ContractOut})
    def post(self, request: Request) -> Response:
        """Put a contract in force; it ends the one before."""
        given = valid(ContractIn(data=request.data))
        organization = Organization.objects.filter(slug=given.pop("organization")).first()
        if organization is None:
            raise NotFound("organization_unknown", "no such organization", field="organization")
        (made,) = sign_contracts([_draft(organization, given)])
        made.organization = organization
        return Response(ContractOut(made).data, status=201)


def _draft(organization: Organization, given: dict[str, Any]) -> Draft:
    limit = given.pop("credit_limit", None)
    return Draft(organization.pk, credit_limit_micros=None if limit is None else to_micros(Decimal(limit)), **given)


urlpatterns = [path("contracts", ContractsView.as_view())]
