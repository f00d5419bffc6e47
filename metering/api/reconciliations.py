"""`/usage/reconciliations`: thin; `metering.reconciling` does the work."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Invalid, NotFound
from core.http import KeysetPages
from marketplace.api.lists import ListView
from marketplace.api.serializers import DecimalText, In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import PROVIDERS_READ, PROVIDERS_WRITE
from metering.api.bodies import BodyParser
from metering.models import Reconciliation, ReconciliationRow, ReconciliationRun
from metering.periods import zone_of
from metering.reconciling.comparing import Tolerance
from metering.reconciling.reading import MOST, counters_of, rows_of_csv, rows_of_json, rows_of_lines
from metering.reconciling.running import reconcile, run_again
from metering.windows import zone_named

NUMBER: Final = OpenApiParameter("number", OpenApiTypes.INT, OpenApiParameter.PATH)
MOST_TOLERANCE: Final = Decimal(10) ** 18


class CsvParser(BodyParser):
    media_type = "text/csv"
    read = staticmethod(rows_of_csv)


class LinesParser(BodyParser):
    media_type = "application/x-ndjson"
    read = staticmethod(rows_of_lines)


class JsonParser(BodyParser):
    media_type = "application/json"
    read = staticmethod(rows_of_json)


class ToleranceIn(In):
    name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    relative = DecimalText(required=False)
    absolute = DecimalText(required=False)


@extend_schema_field(OpenApiTypes.STR)
class PlainOut(serializers.Field[Any, Any, str, Any]):
    """A quantity as decimal text, without zeros at its end."""

    def to_representation(self, value: Any) -> str:
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text


class ReconciliationCountsOut(Out):
    matched = serializers.IntegerField()
    within = serializers.IntegerField(help_text="not equal, but within the tolerance")
    off = serializers.IntegerField()
    missing_here = serializers.IntegerField(help_text="the platform knows nothing of it")
    missing_there = serializers.IntegerField(help_text="the provider said nothing of it")


class ReconciliationRunOut(Out):
    run = serializers.IntegerField(source="number")
    cutoff = serializers.DateTimeField(help_text="facts that were accepted later were not seen")
    counts = ReconciliationCountsOut()


class ReconciliationOut(Out):
    """A provider's counters, and each comparison of them with what the platform knew."""

    number = serializers.IntegerField(source="pk")
    provider = serializers.CharField(source="provider.slug")
    name = serializers.CharField()
    relative = PlainOut()
    absolute = PlainOut()
    created_at = serializers.DateTimeField()
    runs = ReconciliationRunOut(many=True)


class ReconciliationRowOut(Out):
    run = serializers.IntegerField(source="run.number")
    pool = serializers.CharField(source="pool.identifier")
    customer = serializers.CharField(source="customer.slug", allow_null=True, default=None, help_text="null: all together")
    meter = serializers.CharField()
    unit = serializers.CharField()
    to = serializers.DateTimeField(source="end")
    theirs = PlainOut(allow_null=True)
    ours = PlainOut(allow_null=True)
    difference = PlainOut(help_text="theirs less ours")
    facts = serializers.IntegerField()
    status = serializers.ChoiceField(ReconciliationRow.Status.choices)

    def get_fields(self) -> dict[str, Any]:
        return {"from": serializers.DateTimeField(source="start")} | super().get_fields()


class Newest(KeysetPages):
    ordering = "-pk"


class Oldest(KeysetPages):
    ordering = "pk"


def reconciliations_of(caller: Caller) -> QuerySet[Reconciliation]:
    """The provider's own; operators see all."""
    rows = Reconciliation.objects.select_related("provider").prefetch_related("runs")
    return rows if caller.is_operator else rows.filter(provider=caller.acting_for())


def reconciliation_for(request: Request, number: int) -> Reconciliation:
    found = reconciliations_of(caller_of(request)).filter(pk=min(number, 2**63 - 1)).first()
    if found is None:
        raise NotFound("not_found", "no such reconciliation")
    return found


_ROW = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("pool", "customer", "meter", "unit", "from", "to", "quantity")},
}


class ReconciliationsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ, "POST": PROVIDERS_WRITE}
    serializer_class = ReconciliationOut
    pagination_class = Newest
    parser_classes = (JsonParser, CsvParser, LinesParser)

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return reconciliations_of(caller)

    @extend_schema(operation_id="usage_reconciliations_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The provider's reconciliations with their runs, newest first; operators see all."""
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="usage_reconciliations_create",
        parameters=[
            OpenApiParameter("name", str),
            OpenApiParameter("relative", str, description="how far off is within, as a part of ours, 0 to 1"),
            OpenApiParameter("absolute", str, description="the same as a quantity; the larger of the two counts"),
            OpenApiParameter("zone", str, description="IANA time zone of days; by default the provider's"),
        ],
        request={"application/json": {"type": "array", "items": _ROW, "maxItems": MOST}, "text/csv": OpenApiTypes.STR},
        responses={201: ReconciliationOut},
    )
    def post(self, request: Request) -> Response:
        """Compare counters with what the platform knows: a header and rows as CSV, one object per line, or a JSON list."""
        caller, query = caller_of(request), request.query_params
        provider = caller.acting_for()
        zone = zone_named(query["zone"]) if "zone" in query else zone_of(provider)
        given = valid(ToleranceIn(data={name: query[name] for name in ("name", "relative", "absolute") if name in query}))
        counters = counters_of(list(request.data), zone)
        run = reconcile(provider, counters, tolerance_of(given), name=given["name"], api_key=caller.api_key)
        made = reconciliations_of(caller).get(pk=run.reconciliation_id)
        return Response(ReconciliationOut(made).data, status=201)


def tolerance_of(given: dict[str, Any]) -> Tolerance:
    """Invalid `invalid_parameter` for a part above 1, or an amount beyond sense."""
    absolute, relative = (Decimal(given.get(name, "0")) for name in ("absolute", "relative"))
    if relative > 1:
        raise Invalid("invalid_parameter", "a part from 0 to 1", field="relative")
    if absolute > MOST_TOLERANCE:
        raise Invalid("invalid_parameter", f"at most {MOST_TOLERANCE}", field="absolute")
    return Tolerance(absolute, relative)


class ReconciliationView(APIView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ}

    @extend_schema(operation_id="usage_reconciliations_retrieve", parameters=[NUMBER], responses=ReconciliationOut)
    def get(self, request: Request, number: int) -> Response:
        """One reconciliation with its runs."""
        return Response(ReconciliationOut(reconciliation_for(request, number)).data)


class RunsView(APIView):
    scopes: ClassVar[Scopes] = {"POST": PROVIDERS_WRITE}

    @extend_schema(
        operation_id="usage_reconciliations_run", request=None, parameters=[NUMBER], responses={201: ReconciliationRunOut}
    )
    def post(self, request: Request, number: int) -> Response:
        """Compare the same counters with what the platform knows now; the runs before stay."""
        return Response(ReconciliationRunOut(run_again(reconciliation_for(request, number))).data, status=201)


class RowsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": PROVIDERS_READ}
    serializer_class = ReconciliationRowOut
    pagination_class = Oldest

    def rows(self, caller: Caller) -> QuerySet[Any]:
        query, made = self.request.query_params, reconciliation_for(self.request, self.kwargs["number"])
        status, run = query.get("status"), query.get("run")
        if status is not None and status not in ReconciliationRow.Status.values:
            raise Invalid("invalid_parameter", f"one of {', '.join(ReconciliationRow.Status.values)}", field="status")
        if run is not None and not (run.isascii() and run.isdigit() and len(run) < 10):
            raise Invalid("invalid_parameter", "a run's number", field="run")
        runs = ReconciliationRun.objects.filter(reconciliation=made).order_by("-number")
        shown = (runs.filter(number=int(run)) if run else runs).values("pk")[:1]
        rows = ReconciliationRow.objects.filter(run__in=shown).select_related("run", "pool", "customer")
        return rows.filter(status=status) if status else rows

    @extend_schema(
        operation_id="usage_reconciliations_rows",
        parameters=[
            NUMBER,
            OpenApiParameter("status", str, enum=ReconciliationRow.Status.values),
            OpenApiParameter("run", {"type": "integer", "minimum": 1}, description="by default the last"),
        ],
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The report of a run: each counter beside what the platform knows, and what either side does not name."""
        return super().get(request, *args, **kwargs)


urlpatterns = [
    path("usage/reconciliations", ReconciliationsView.as_view()),
    path("usage/reconciliations/<int:number>", ReconciliationView.as_view()),
    path("usage/reconciliations/<int:number>/rows", RowsView.as_view()),
    path("usage/reconciliations/<int:number>/runs", RunsView.as_view()),
]
