"""`/usage`, `/usage.csv` and `/usage/days`: what was used. Thin; `metering.queries` does the work."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import QuerySet
from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid, NotAllowed
from core.http import KeysetPages
from core.spreadsheets import safe_cell
from marketplace.api.artifacts import AnyAccept
from marketplace.api.lists import ListView
from marketplace.api.serializers import Out
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.ranges import Streamed
from marketplace.scopes import BILLING_READ
from metering.models import UsageDay
from metering.periods import SCALE, zones_of
from metering.queries import COLUMNS, GROUPS, Asked, after_of, all_pages, groups_of, page_of
from metering.windows import moment_in, month_of, zone_named

PARTIES = ("user", "provider", "all")
MOST = 5_000
WINDOW = [
    OpenApiParameter("group_by", str, description=f"any of {', '.join(GROUPS)}, label:NAME, with commas between them"),
    OpenApiParameter("party", str, enum=PARTIES, default="user", description="whose; `all` is for operators"),
    OpenApiParameter("from", str, description="a day or a moment, included; by default the month's first"),
    OpenApiParameter("to", str, description="a day or a moment, excluded; by default now"),
    OpenApiParameter("zone", str, description="IANA time zone of days, months and hours; by default the organization's"),
    OpenApiParameter("meter", str, description="only this one"),
]
PAGE = [
    OpenApiParameter("limit", {"type": "integer", "minimum": 1}, description=f"rows of a page, cut to {MOST}"),
    OpenApiParameter("after", str, description="`next` of the page before"),
]


class UsageLineOut(Out):
    """A sum. What it is grouped by stands beside it, by the names that were asked for; null where there is none."""

    meter = serializers.CharField()
    unit = serializers.CharField()
    quantity = serializers.CharField(help_text="decimal text, exact")
    fp32_tflop = serializers.CharField(help_text="normalised work (标准算力) of the same facts")
    facts = serializers.IntegerField(help_text="usage records and events in it")
    gaps = serializers.IntegerField(help_text="readings of counters that miss one before them, or went backwards")


class UsageOut(Out):
    party = serializers.ChoiceField(PARTIES)
    organization = serializers.CharField(allow_null=True)
    to = serializers.DateTimeField()
    zone = serializers.CharField()
    group_by = serializers.ListField(child=serializers.CharField())
    rows = UsageLineOut(many=True)
    next = serializers.CharField(allow_null=True, help_text="`after` of the next page, null on the last")

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.DateTimeField()}  # a keyword cannot be an attribute


def asked_of(request: Request, caller: Caller) -> Asked:
    """The question in a request's query. Invalid and NotAllowed as the parts of it say."""
    query = request.query_params
    party, organization = _party(query.get("party", "user"), caller)
    zone = zone_named(query["zone"]) if "zone" in query else _zone_of(organization)
    end = moment_in(query["to"], zone, "to") if "to" in query else timezone.now()
    start = moment_in(query["from"], zone, "from") if "from" in query else month_of(end, zone)
    if start > end:
        raise Invalid("invalid_parameter", "the window ends before it begins", field="to")
    groups = groups_of(query.get("group_by", ""))
    meter = query.get("meter")
    if meter is not None and not meter.isprintable():
        raise Invalid("invalid_parameter", "a meter's name", field="meter")
    after = after_of(query["after"], groups) if "after" in query else None
    return Asked(party, organization, start, end, zone.key, groups, meter, _limit(query.get("limit")), after)


def _zone_of(organization: int | None) -> ZoneInfo:
    """Of the organization that asks; of everybody's usage the market's."""
    return ZoneInfo(settings.USAGE_ZONE) if organization is None else zones_of([organization])[organization]


def _party(name: str, caller: Caller) -> tuple[str, int | None]:
    if name not in PARTIES:
        raise Invalid("invalid_parameter", "party is user, provider or all", field="party")
    if name == "all" and not caller.is_operator:
        raise NotAllowed("operators_only", "only operators see everybody's usage")
    return name, None if name == "all" else caller.acting_for().pk


def _limit(text: str | None) -> int:
    if text is None:
        return 500
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise Invalid("invalid_parameter", "limit is a whole number, at least 1", field="limit")
    return min(int(text), MOST)


class UsageView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="usage_retrieve", parameters=[*WINDOW, *PAGE], responses=UsageOut)
    def get(self, request: Request) -> Response:
        """What an organization used, or its pools did, in any window of any time zone."""
        caller = caller_of(request)
        asked = asked_of(request, caller)
        rows, following = page_of(asked)
        organization = caller.organization.slug if asked.organization and caller.organization else None
        head = {"party": asked.party, "organization": organization, "from": asked.start, "to": asked.end, "zone": asked.zone}
        return Response(head | {"group_by": list(asked.groups), "rows": rows, "next": following})


class UsageFileView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="usage_export",
        parameters=WINDOW,
        responses={(200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="a header and the rows")},
    )
    def get(self, request: Request) -> Any:
        """The same as CSV, streamed; text that a spreadsheet would run as a formula begins with an apostrophe."""
        answer = Streamed(_csv_of(asked_of(request, caller_of(request))), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="usage.csv"'
        answer["Cache-Control"] = "no-store"
        return answer


def _csv_of(asked: Asked) -> Iterator[bytes]:
    names = [*asked.groups, *COLUMNS]
    yield _lines([[safe_cell(name) for name in names]])
    for rows in all_pages(asked):
        yield _lines([[safe_cell(row[name]) for name in names] for row in rows])


def _lines(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


class UsageDayOut(Out):
    pool = serializers.CharField(source="subject.pool.identifier")
    meter = serializers.CharField(source="subject.meter")
    unit = serializers.CharField(source="subject.unit")
    zone = serializers.CharField(source="subject.zone")
    day = serializers.DateField()
    stat = serializers.ChoiceField(UsageDay.Stat.choices, help_text="sum of quantities, avg or max of what was held")
    slots = serializers.SerializerMethodField(help_text="five minutes each, decimal text; null: nobody can vouch for it")
    known = serializers.IntegerField(help_text="slots that are not null")
    digest = serializers.UUIDField(help_text="of the facts")

    @extend_schema_field(serializers.ListField(child=serializers.CharField(allow_null=True)))
    def get_slots(self, day: UsageDay) -> list[str | None]:
        return [None if slot is None else f"{Decimal(slot) / SCALE:f}" for slot in day.slots]


class Oldest(KeysetPages):
    ordering = "pk"


class UsageDaysView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = UsageDayOut
    pagination_class = Oldest

    def rows(self, caller: Caller) -> QuerySet[Any]:
        query = self.request.query_params
        rows = UsageDay.objects.filter(subject__customer=caller.acting_for()).select_related("subject__pool")
        zone = zone_named("UTC")
        for name, edge in (("from", "day__gte"), ("to", "day__lt")):
            if name in query:
                rows = rows.filter(**{edge: moment_in(query[name], zone, name).date()})
        if "meter" in query and not query["meter"].isprintable():
            raise Invalid("invalid_parameter", "a meter's name", field="meter")
        if "stat" in query and query["stat"] not in UsageDay.Stat.values:
            raise Invalid("invalid_parameter", "stat is sum, avg or max", field="stat")
        wanted = {"subject__meter": query.get("meter"), "stat": query.get("stat")}
        return rows.filter(**{name: value for name, value in wanted.items() if value is not None})

    @extend_schema(
        operation_id="usage_days_list",
        parameters=[
            OpenApiParameter("meter", str),
            OpenApiParameter("stat", str, enum=UsageDay.Stat.values),
            OpenApiParameter("from", str, description="a day, included"),
            OpenApiParameter("to", str, description="a day, excluded"),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Days of the organization's zone in slots of five minutes: what it held, and what pools reported. A moment late."""
        return super().get(request, *args, **kwargs)


urlpatterns = [
    path("usage", UsageView.as_view()),
    path("usage.csv", UsageFileView.as_view()),
    path("usage/days", UsageDaysView.as_view()),
]
