"""Budgets' doors: owners open, change and close them; who may read money reads them. No rules in here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.api import AmountOut
from billing.credit.budgets import Wanted, change_budget, close_budget, open_budget
from core.errors import NotFound
from core.http import KeysetPages
from core.money import to_micros
from marketplace.api.lists import ListView
from marketplace.api.serializers import DecimalText, In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.budgets import ACTIONS, MOST_PERCENT, parse_thresholds
from marketplace.models import Budget, BudgetAlert
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ, ORGANIZATION_WRITE

NUMBER = OpenApiParameter("number", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)


class ThresholdIn(In):
    percent = serializers.IntegerField(min_value=1, max_value=MOST_PERCENT)
    action = serializers.ChoiceField(ACTIONS)


class BudgetChangeIn(In):
    name = serializers.CharField(max_length=100, required=False)
    amount = DecimalText(required=False)
    thresholds = ThresholdIn(many=True, required=False)


class BudgetIn(In):
    name = serializers.CharField(max_length=100)
    scope = serializers.ChoiceField(Budget.Scope.choices)
    subject = serializers.CharField(
        max_length=200, required=False, allow_blank=True, default="",
        help_text="the project, username, key's prefix or task; empty for the whole organization",
    )  # fmt: skip
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", required=False)
    period = serializers.ChoiceField(Budget.Period.choices, default="month")
    amount = DecimalText()
    thresholds = ThresholdIn(many=True)


class ThresholdOut(Out):
    percent = serializers.IntegerField()
    action = serializers.ChoiceField(ACTIONS)


class BudgetOut(Out):
    """What a scope may spend, has spent in this period, and holds for tasks that run."""

    number = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    scope = serializers.ChoiceField(Budget.Scope.choices)
    subject = serializers.SerializerMethodField()
    currency = serializers.CharField()
    period = serializers.ChoiceField(Budget.Period.choices)
    period_start = serializers.DateTimeField()
    amount = AmountOut(source="amount_micros")
    spent = AmountOut(source="spent_micros")
    held = AmountOut(source="held_micros")
    thresholds = ThresholdOut(many=True)
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)

    def get_subject(self, budget: Budget) -> str:
        prefix = budget.api_key and budget.api_key.prefix
        named = {"project": budget.project, "user": budget.user, "key": prefix, "task": budget.task_id}
        return str(named.get(budget.scope) or "")


class AlertOut(Out):
    """A threshold that was reached, once per period."""

    budget = serializers.IntegerField(source="budget_id")
    period_start = serializers.DateTimeField()
    percent = serializers.IntegerField()
    action = serializers.ChoiceField(ACTIONS)
    amount = AmountOut(source="amount_micros")
    spent = AmountOut(source="spent_micros")
    held = AmountOut(source="held_micros")
    raised_at = serializers.DateTimeField()


def budgets_of(caller: Caller) -> QuerySet[Budget]:
    return Budget.objects.filter(organization=caller.acting_for()).select_related("user", "api_key")


def budget_for(request: Request, number: int) -> Budget:
    budget = budgets_of(caller_of(request)).filter(pk=number).first() if number < 2**63 else None
    if budget is None:
        raise NotFound("not_found", "no such budget")
    return budget


class BudgetsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": ORGANIZATION_WRITE}
    serializer_class = BudgetOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return budgets_of(caller)

    @extend_schema(operation_id="budgets_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The organization's budgets, newest first, closed ones too."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="budgets_open", request=BudgetIn, responses={201: BudgetOut})
    def post(self, request: Request) -> Response:
        """Open a budget. It counts at once what its scope has spent in the period, and what is held."""
        given = valid(BudgetIn(data=request.data))
        given |= {"currency": given.get("currency", settings.CURRENCY)} | _values(given)
        given.pop("amount")
        budget = open_budget(caller_of(request).acting_for(), Wanted(**given))
        return Response(BudgetOut(budget).data, status=status.HTTP_201_CREATED)


def _values(given: dict[str, Any]) -> dict[str, Any]:
    """Amount and thresholds as the services take them."""
    values: dict[str, Any] = {}
    if "amount" in given:
        values["amount_micros"] = to_micros(Decimal(given["amount"]))
    if "thresholds" in given:
        values["thresholds"] = parse_thresholds([dict(one) for one in given["thresholds"]])
    return values


class BudgetView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "PATCH": ORGANIZATION_WRITE, "DELETE": ORGANIZATION_WRITE}

    @extend_schema(operation_id="budgets_retrieve", parameters=[NUMBER], responses=BudgetOut)
    def get(self, request: Request, number: int) -> Response:
        """One budget: what its scope may spend, has spent, and holds."""
        return Response(BudgetOut(budget_for(request, number)).data)

    @extend_schema(operation_id="budgets_change", parameters=[NUMBER], request=BudgetChangeIn, responses=BudgetOut)
    def patch(self, request: Request, number: int) -> Response:
        """Another name, amount, or other thresholds."""
        budget = budget_for(request, number)
        given = valid(BudgetChangeIn(data=request.data))
        names = {"name": given["name"]} if "name" in given else {}
        return Response(BudgetOut(change_budget(budget, **names, **_values(given))).data)

    @extend_schema(operation_id="budgets_close", parameters=[NUMBER], request=None, responses={204: None})
    def delete(self, request: Request, number: int) -> Response:
        """Close it: it limits nothing any more."""
        close_budget(budget_for(request, number))
        return Response(status=status.HTTP_204_NO_CONTENT)


class BudgetAlertsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = AlertOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return BudgetAlert.objects.filter(budget__organization=caller.acting_for())

    @extend_schema(operation_id="budgets_alerts_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Thresholds that the organization's budgets reached, newest first."""
        return super().get(request, *args, **kwargs)


urlpatterns = [
    path("budgets", BudgetsView.as_view()),
    path("budgets/alerts", BudgetAlertsView.as_view()),
    path("budgets/<int:number>", BudgetView.as_view()),
]
