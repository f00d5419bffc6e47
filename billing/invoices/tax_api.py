"""Taxes' doors, for operators: the taxes, their dated rates, and who is asked for them. No rules in here."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.credit.api import organization_named
from billing.invoices import taxing
from billing.models import Tax, TaxAssignment, TaxRate
from core.errors import Conflict, NotFound
from core.http import KeysetPages
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller
from marketplace.models import Region
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR

MAX_BIGINT: Final = 2**63 - 1
SLUG: Final = r"^[a-z0-9][a-z0-9-]{0,19}\Z"
ASSIGNMENT: Final = OpenApiParameter("tax_assignment", OpenApiTypes.INT, OpenApiParameter.PATH)


class TaxIn(In):
    code = serializers.RegexField(SLUG, help_text="for example vat")
    name = serializers.CharField(max_length=60, help_text="as invoices show it, for example VAT 增值税")


class TaxOut(Out):
    code = serializers.CharField()
    name = serializers.CharField()


class TaxRateIn(In):
    """A rate from `start` on. It ends the one of the same tax, category and region that would run into it."""

    tax = serializers.CharField(max_length=20, help_text="a tax's code")
    percent = serializers.DecimalField(max_digits=7, decimal_places=4, min_value=0, max_value=100)
    category = serializers.RegexField(SLUG, default=taxing.STANDARD, help_text="of customers, for example standard, small, exempt")
    region = serializers.CharField(max_length=50, required=False, allow_null=True, default=None, help_text="null: everywhere")
    start = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="default: now")


@extend_schema_field(OpenApiTypes.STR)
class PercentOut(serializers.Field[Any, Any, str, Any]):
    """Per cent as decimal text, without zeros at its end."""

    def to_representation(self, value: Any) -> str:
        return f"{value.normalize():f}"


class TaxRateOut(Out):
    number = serializers.IntegerField(source="pk")
    tax = serializers.CharField(source="tax.code")
    category = serializers.CharField()
    region = serializers.CharField(source="region.code", allow_null=True, default=None, help_text="null: everywhere")
    percent = PercentOut()
    valid_from = serializers.DateTimeField(source="valid.lower")
    valid_to = serializers.DateTimeField(source="valid.upper", allow_null=True)


class TaxAssignmentIn(In):
    """An organization is asked for a tax from `start` on."""

    tax = serializers.CharField(max_length=20, help_text="a tax's code")
    organization = serializers.SlugField(max_length=63)
    category = serializers.RegexField(SLUG, default=taxing.STANDARD)
    start = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="default: now")


class TaxAssignmentOut(Out):
    number = serializers.IntegerField(source="pk")
    tax = serializers.CharField(source="tax.code")
    organization = serializers.CharField(source="organization.slug")
    category = serializers.CharField()
    valid_from = serializers.DateTimeField(source="valid.lower")
    valid_to = serializers.DateTimeField(source="valid.upper", allow_null=True)


class TaxStopIn(In):
    at = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="default: now")


class TaxesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    serializer_class = TaxOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return Tax.objects.all()

    @extend_schema(operation_id="taxes_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The taxes that there are, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="taxes_create", request=TaxIn, responses={201: TaxOut})
    def post(self, request: Request) -> Response:
        """A new kind of tax. It is asked of nobody until it has a rate and somebody is assigned to it."""
        return Response(TaxOut(taxing.add_tax(**valid(TaxIn(data=request.data)))).data, status=201)


class TaxRatesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    serializer_class = TaxRateOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return TaxRate.objects.select_related("tax", "region")

    @extend_schema(operation_id="tax_rates_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """All rates with the time in which each holds, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="tax_rates_create", request=TaxRateIn, responses={201: TaxRateOut})
    def post(self, request: Request) -> Response:
        """Put a rate in force. Invoices take the rate at the end of their month; those that are final never change."""
        given = valid(TaxRateIn(data=request.data))
        tax, region = taxing.tax_named(given["tax"]), region_named(given["region"])
        place = None if region is None else region.pk
        draft = taxing.RateDraft(tax.pk, given["percent"], given["category"], place, given["start"])
        (made,) = taxing.set_rates([draft])
        made.tax, made.region = tax, region
        return Response(TaxRateOut(made).data, status=201)


def region_named(code: str | None) -> Region | None:
    """Raises NotFound `region_unknown`."""
    if code is None:
        return None
    region = Region.objects.filter(code=code).first()
    if region is None:
        raise NotFound("region_unknown", "no such region", field="region")
    return region


class TaxAssignmentsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    serializer_class = TaxAssignmentOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return TaxAssignment.objects.select_related("tax", "organization")

    @extend_schema(operation_id="tax_assignments_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Who is asked for which tax, and when, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="tax_assignments_create", request=TaxAssignmentIn, responses={201: TaxAssignmentOut})
    def post(self, request: Request) -> Response:
        """Ask an organization for a tax."""
        given = valid(TaxAssignmentIn(data=request.data))
        tax, organization = taxing.tax_named(given["tax"]), organization_named(given["organization"])
        (made,) = taxing.assign_taxes([taxing.AssignmentDraft(tax.pk, organization.pk, given["category"], given["start"])])
        made.tax, made.organization = tax, organization
        return Response(TaxAssignmentOut(made).data, status=201)


class TaxStopView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="tax_assignments_stop", parameters=[ASSIGNMENT], request=TaxStopIn, responses=TaxAssignmentOut)
    def post(self, request: Request, tax_assignment: int) -> Response:
        """Ask the organization no more from a moment on. What was invoiced stays."""
        number = min(tax_assignment, MAX_BIGINT)
        stopped = taxing.stop_assignments([number], valid(TaxStopIn(data=request.data or {}))["at"])
        found = TaxAssignment.objects.select_related("tax", "organization").filter(pk=number).first()
        if found is None:
            raise NotFound("not_found", "no such assignment")
        if not stopped:
            raise Conflict("tax_assignment_over", "this assignment is not in force then", field="at")
        return Response(TaxAssignmentOut(found).data)


urlpatterns = [
    path("taxes", TaxesView.as_view()),
    path("tax-rates", TaxRatesView.as_view()),
    path("tax-assignments", TaxAssignmentsView.as_view()),
    path("tax-assignments/<int:tax_assignment>/stop", TaxStopView.as_view()),
]
