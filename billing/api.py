"""Money's doors: statements for each party, a task's charges, the ledger's balance. Reads only."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing import queries
from billing.models import Charge
from billing.queries import COLUMNS, FIRST, GROUPS, PARTIES, Statement
from core.errors import NotFound
from core.http import KeysetPages
from core.money import text_of
from core.spreadsheets import safe_cell
from marketplace.api.artifacts import AnyAccept
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Task
from marketplace.permissions import Scopes
from marketplace.ranges import Streamed
from marketplace.scopes import BILLING_READ, OPERATOR
from scheduler.queries import tasks_of


@extend_schema_field(OpenApiTypes.STR)
class MomentField(serializers.Field[datetime, str, str, Any]):
    """A day (its beginning, UTC) or a moment, RFC 3339."""

    def to_internal_value(self, data: str) -> datetime:
        try:
            moment = parse_datetime(data) if len(data) > 10 else _day(parse_date(data))
        except ValueError:
            moment = None
        if moment is None or not 1970 <= moment.year <= 9000:
            raise serializers.ValidationError("a day (2026-03-01) or a moment (2026-03-01T08:00:00Z)")
        return moment if timezone.is_aware(moment) else moment.replace(tzinfo=UTC)


def _day(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time.min, UTC)


class StatementIn(In):
    """The query of a statement. The period is [from, to); without one, this month so far."""

    party = serializers.ChoiceField(sorted(PARTIES))
    to = MomentField(required=False)
    group = serializers.ChoiceField(sorted(GROUPS), default="task")
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", required=False, help_text="ISO 4217, by default the market's")
    after = serializers.UUIDField(required=False, help_text="the task to go on after, from `next`")

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": MomentField(required=False)}  # a keyword cannot be an attribute

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        now = timezone.now()
        data.setdefault("to", now)
        data.setdefault("from", data["to"].replace(day=1, hour=0, minute=0, second=0, microsecond=0))
        if data["from"] > data["to"]:
            raise serializers.ValidationError({"to": ["the period ends before it begins"]})
        return data


class LineOut(Out):
    """One line of a statement. What it is not grouped by is left out."""

    task = serializers.UUIDField(required=False, allow_null=True, help_text="null: charged by period")
    capability = serializers.CharField(required=False, allow_null=True)
    pool = serializers.CharField(required=False, allow_null=True)
    day = serializers.DateField(required=False)
    month = serializers.CharField(required=False, help_text="YYYY-MM, of the organization's time zone")
    organization = serializers.CharField(required=False, help_text="who used it")
    kind = serializers.ChoiceField([*Charge.Kind.values, "period"], required=False)
    units = serializers.IntegerField(help_text="valid units")
    attempts = serializers.IntegerField()
    core_seconds = serializers.CharField()
    held_core_seconds = serializers.CharField()
    accelerator_seconds = serializers.CharField()
    fp32_tflop = serializers.CharField(help_text="normalised work (标准算力)")
    fp32_tflops_hours = serializers.CharField(help_text="the same as hours of a machine of one FP32 TFLOP/s")
    gb_moved = serializers.CharField()
    amount = serializers.CharField(help_text="of the charges, whoever gets it")
    share = serializers.CharField(help_text="what this party owes (user) or earns")


class StatementOut(Out):
    party = serializers.ChoiceField(sorted(PARTIES))
    organization = serializers.CharField()
    currency = serializers.CharField()
    to = serializers.DateTimeField()
    group = serializers.ChoiceField(sorted(GROUPS))
    total = serializers.CharField(help_text="of the whole period, from the ledger")
    lines = LineOut(many=True)
    next = serializers.UUIDField(allow_null=True, help_text="`after` of the next page, null on the last")

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.DateTimeField()}


PERIOD = [
    OpenApiParameter("party", str, required=True, enum=sorted(PARTIES)),
    OpenApiParameter("from", str, description="a day or a moment, included; by default the month's first"),
    OpenApiParameter("to", str, description="a day or a moment, excluded; by default now"),
    OpenApiParameter("group", str, enum=sorted(GROUPS), default="task"),
    OpenApiParameter("currency", {"type": "string", "pattern": "^[A-Z]{3}$"}),
]
AFTER = OpenApiParameter("after", UUID, description="the task to go on after")


def _asked(request: Request) -> tuple[Statement, UUID]:
    organization = caller_of(request).acting_for()
    given = valid(StatementIn(data=request.query_params.dict()))
    currency = given.get("currency", settings.CURRENCY)
    period = {"start": given["from"], "end": given["to"]}
    statement = Statement(given["party"], organization, currency, group=given["group"], **period)
    return statement, given.get("after", FIRST)


class StatementView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="statements_retrieve", parameters=[*PERIOD, AFTER], responses=StatementOut)
    def get(self, request: Request) -> Response:
        """What the organization owes as a user, or earns as a provider or publisher, in a period."""
        statement, after = _asked(request)
        lines, following = queries.lines_of(statement, after)
        head: dict[str, Any] = {"party": statement.party, "organization": statement.organization.slug, "group": statement.group}
        head |= {"currency": statement.currency, "from": statement.start, "to": statement.end}
        return Response(head | {"total": text_of(queries.total_of(statement)), "lines": lines, "next": following})


class StatementFileView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="statements_export",
        parameters=PERIOD,
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="a header and the lines")},
    )
    def get(self, request: Request) -> Any:
        """The same as CSV, streamed; text that a spreadsheet would run as a formula begins with an apostrophe."""
        statement, _ = _asked(request)
        answer = Streamed(_rows(statement), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="statement-{statement.party}.csv"'
        answer["Cache-Control"] = "no-store"
        return answer


def _rows(statement: Statement) -> Iterator[bytes]:
    names = [name for name in COLUMNS if name not in set(COLUMNS[: COLUMNS.index("kind") + 1]) - set(GROUPS[statement.group])]
    yield _csv([[*names, "currency"]])
    for lines in queries.all_lines(statement):
        yield _csv([[*(safe_cell(line[name]) for name in names), statement.currency] for line in lines])


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


class ChargeLineOut(Out):
    meter = serializers.CharField()
    quantity = serializers.CharField()
    unit_price = serializers.CharField()
    amount = serializers.CharField()


class EntryOut(Out):
    key = serializers.CharField()
    posted_at = serializers.DateTimeField()


class MicrosText(serializers.Field[Any, Any, str, Any]):
    """Micros as decimal text."""

    def to_representation(self, value: Any) -> str:
        return text_of(int(value))  # sums that may outgrow 64 bits are decimals


@extend_schema_field(OpenApiTypes.STR)
class AmountOut(MicrosText):
    pass


class SplitOut(Out):
    provider = AmountOut(source="provider_micros")
    publisher = AmountOut(source="publisher_micros")
    platform = AmountOut(source="platform_micros")


class ChargeOut(Out):
    """A charge: who pays, why, how much, how it was computed, who gets it, and the entry that posted it."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(Charge.Kind.choices)
    payer = serializers.ChoiceField(Charge.Payer.choices)
    reason = serializers.CharField(help_text="<what the attempt was>/<how the task ended>, docs/billing.md")
    attempt = serializers.IntegerField(source="usage.attempt_id", allow_null=True, default=None)
    pool = serializers.CharField(source="usage.pool.identifier", allow_null=True, default=None)
    provider = serializers.CharField(source="provider.slug", allow_null=True, default=None)
    publisher = serializers.CharField(source="publisher.slug")
    currency = serializers.CharField()
    amount = AmountOut(source="amount_micros")
    split = SplitOut(source="*")
    lines = ChargeLineOut(many=True)
    entry = EntryOut(allow_null=True)
    charged_at = serializers.DateTimeField()


class ByKey(KeysetPages):
    ordering = "pk"


class ChargesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = ChargeOut
    pagination_class = ByKey

    def rows(self, caller: Caller) -> QuerySet[Any]:
        tasks = tasks_of(caller.organization, operator=caller.is_operator)
        task: Task | None = tasks.filter(pk=self.kwargs["task_id"]).first()
        if task is None:
            raise NotFound("not_found", "no such task")
        return queries.charges_of(task)

    @extend_schema(operation_id="tasks_charges_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The task's charges, oldest first. Empty until it has ended and was measured."""
        return super().get(request, *args, **kwargs)


class AccountOut(Out):
    kind = serializers.CharField()
    organization = serializers.CharField(allow_null=True)
    currency = serializers.CharField()
    debit = serializers.CharField()
    credit = serializers.CharField()
    balance = serializers.CharField(help_text="debit minus credit")


class BalanceOut(Out):
    balanced = serializers.BooleanField()
    accounts = AccountOut(many=True)


class TrialBalanceView(APIView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR}

    @extend_schema(operation_id="ledger_trial_balance", responses=BalanceOut)
    def get(self, request: Request) -> Response:
        """Every account's debits and credits. They are equal, or PostgreSQL is not what it says."""
        accounts = queries.trial_balance()
        return Response(
            {"balanced": queries.is_balanced(accounts), "accounts": [_account(account) for account in accounts]}
        )


def _account(account: dict[str, Any]) -> dict[str, Any]:
    debit, credit = account["debit"], account["credit"]
    return account | {"debit": text_of(debit), "credit": text_of(credit), "balance": text_of(debit - credit)}


urlpatterns = [
    path("statements", StatementView.as_view()),
    path("statements.csv", StatementFileView.as_view()),
    path("tasks/<uuid:task_id>/charges", ChargesView.as_view()),
    path("ledger/trial-balance", TrialBalanceView.as_view()),
]
