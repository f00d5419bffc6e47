"""Service levels' doors: providers promise, everybody reads what holds, customers and providers read how days kept it."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import Q, QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import AmountOut
from billing.credit.api import organization_named
from billing.models import SLACredit, SLAMeasurement, SLATerms
from billing.sla.backtest import MOST_DAYS, Imagined, backtest
from billing.sla.terms import Draft, end, own_pool, promise, terms_seen_by, withdraw
from core.errors import NotFound
from core.http import KeysetPages
from core.money import text_of
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, PROVIDERS_WRITE, TASKS_READ

TERMS: Final = OpenApiParameter("terms", OpenApiTypes.INT, OpenApiParameter.PATH)
MAX_BIGINT: Final = 2**63 - 1


class PromiseIn(In):
    """What a provider promises for one of its pools."""

    pool = serializers.CharField(max_length=40, help_text="the pool's identifier")
    kind = serializers.ChoiceField(SLATerms.Kind.choices)
    steps = serializers.ListField(
        child=serializers.ListField(child=serializers.IntegerField(), min_length=2, max_length=2),
        help_text="[[threshold, credit], ...] in basis points: below the threshold so much of the day's charges is given back",
    )
    minimum = serializers.IntegerField(
        min_value=1, max_value=10**12, default=1, help_text="tasks (deadline) or core seconds (availability) that a day must have"
    )


class SLATermsIn(PromiseIn):
    customer = serializers.SlugField(max_length=63, required=False, allow_null=True, default=None, help_text="null: everybody")
    first = serializers.DateField(required=False, allow_null=True, default=None, help_text="default: tomorrow (UTC)")
    until = serializers.DateField(required=False, allow_null=True, default=None, help_text="the first day without it")


class BacktestIn(PromiseIn):
    days = serializers.IntegerField(min_value=1, max_value=MOST_DAYS, default=30, help_text="how many days back from yesterday")


class SLATermsOut(Out):
    id = serializers.IntegerField()
    pool = serializers.CharField(source="pool.identifier")
    provider = serializers.CharField(source="pool.organization.slug")
    customer = serializers.CharField(source="customer.slug", allow_null=True, default=None, help_text="null: everybody")
    kind = serializers.ChoiceField(SLATerms.Kind.choices)
    steps = serializers.ListField(child=serializers.ListField(child=serializers.IntegerField()))
    minimum = serializers.IntegerField()
    valid_from = serializers.DateTimeField(source="valid.lower")
    valid_to = serializers.DateTimeField(source="valid.upper", allow_null=True)
    withdrawn_at = serializers.DateTimeField(allow_null=True, help_text="taken back before they began: they promise nothing")


class SLAMeasurementOut(Out):
    """How terms were kept on a day. `evidence` has the digest's contents."""

    id = serializers.IntegerField()
    terms = serializers.IntegerField(source="terms_id")
    pool = serializers.CharField(source="terms.pool.identifier")
    kind = serializers.ChoiceField(SLATerms.Kind.choices, source="terms.kind")
    customer = serializers.CharField(source="organization.slug")
    day = serializers.DateField()
    good = serializers.IntegerField(help_text="tasks, or core milliseconds")
    total = serializers.IntegerField()
    credit_basis_points = serializers.IntegerField()
    covered = AmountOut(source="covered_micros")
    credit = AmountOut(source="credit_micros")
    currency = serializers.CharField()
    evidence = serializers.JSONField()
    digest = serializers.SerializerMethodField()
    measured_at = serializers.DateTimeField()

    def get_digest(self, one: SLAMeasurement) -> str:
        return bytes(one.digest).hex()


class SLACreditOut(Out):
    """What was given back of a task: a charge below zero."""

    id = serializers.IntegerField()
    measurement = serializers.IntegerField(source="measurement_id")
    task = serializers.UUIDField(source="task_id")
    charge = serializers.IntegerField(source="charge_id")
    amount = serializers.SerializerMethodField()
    currency = serializers.CharField(source="charge.currency")

    def get_amount(self, one: SLACredit) -> str:
        return text_of(-one.charge.amount_micros)


class BacktestDayOut(Out):
    day = serializers.DateField()
    customer = serializers.CharField()
    currency = serializers.CharField()
    good = serializers.IntegerField()
    total = serializers.IntegerField()
    credit_basis_points = serializers.IntegerField()
    credit = serializers.CharField()


class BacktestOut(Out):
    days = BacktestDayOut(many=True)
    credits = serializers.DictField(child=serializers.CharField(), help_text="currency -> what would have been given back")


class SLATermsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": PROVIDERS_WRITE}
    serializer_class = SLATermsOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return terms_seen_by(None if caller.is_operator else caller.acting_for())

    @extend_schema(operation_id="sla_terms_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What providers promise, to everybody and to your organization, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="sla_terms_create", request=SLATermsIn, responses={201: SLATermsOut})
    def post(self, request: Request) -> Response:
        """Promise something for one of your pools, from a day on that has not begun. It is never changed, only ended."""
        caller, given = caller_of(request), valid(SLATermsIn(data=request.data))
        pool = own_pool(given.pop("pool"), caller.acting_for())
        customer = given.pop("customer")
        draft = Draft(pool, customer=organization_named(customer).pk if customer else None, **given)
        (made,) = promise([draft], caller.user)
        return Response(SLATermsOut(made).data, status=201)


class SLATermsEndView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}

    @extend_schema(operation_id="sla_terms_end", parameters=[TERMS], request=None, responses=SLATermsOut)
    def post(self, request: Request, terms: int) -> Response:
        """Promise it no more from tomorrow (UTC) on."""
        return Response(SLATermsOut(end(_own(caller_of(request), terms))).data)


class SLATermsWithdrawView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}

    @extend_schema(operation_id="sla_terms_withdraw", parameters=[TERMS], request=None, responses=SLATermsOut)
    def post(self, request: Request, terms: int) -> Response:
        """Take back terms that have not begun. They stay on record, and leave their place to others."""
        caller = caller_of(request)
        return Response(SLATermsOut(withdraw(_own(caller, terms), caller.user)).data)


def _own(caller: Caller, terms: int) -> SLATerms:
    mine = SLATerms.objects.filter(pk=min(terms, MAX_BIGINT), pool__organization=caller.acting_for())
    found = mine.select_related("pool__organization", "customer").first()
    if found is None:
        raise NotFound("not_found", "no such terms of your pools")
    return found


class SLABacktestView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}

    @extend_schema(operation_id="sla_backtest", request=BacktestIn, responses=BacktestOut)
    def post(self, request: Request) -> Response:
        """What terms would have cost you over past days. Nothing is written."""
        given = valid(BacktestIn(data=request.data))
        pool = own_pool(given.pop("pool"), caller_of(request).acting_for())
        days = given.pop("days")
        return Response(BacktestOut(backtest(Imagined(pool, **given), days)).data)


class SLAMeasurementsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = SLAMeasurementOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        rows = SLAMeasurement.objects.select_related("terms__pool", "organization")
        if caller.is_operator:
            return rows
        mine = caller.acting_for()
        return rows.filter(Q(organization=mine) | Q(terms__pool__organization=mine))

    @extend_schema(operation_id="sla_measurements_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """How days kept what was promised to your organization, or by it, newest first."""
        return super().get(request, *args, **kwargs)


class SLACreditsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = SLACreditOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        rows = SLACredit.objects.select_related("charge")
        if caller.is_operator:
            return rows
        mine = caller.acting_for()
        return rows.filter(Q(measurement__organization=mine) | Q(measurement__terms__pool__organization=mine))

    @extend_schema(operation_id="sla_credits_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """What was given back, task by task, to your organization or by it, newest first."""
        return super().get(request, *args, **kwargs)


urlpatterns = [
    path("sla/terms", SLATermsView.as_view()),
    path("sla/terms/<int:terms>/end", SLATermsEndView.as_view()),
    path("sla/terms/<int:terms>/withdraw", SLATermsWithdrawView.as_view()),
    path("sla/backtest", SLABacktestView.as_view()),
    path("sla/measurements", SLAMeasurementsView.as_view()),
    path("sla/credits", SLACreditsView.as_view()),
]
