"""A run as files: a workbook, one document, and CSV of each table, of a province and of an indicator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import orjson
from django.http import HttpResponse, HttpResponseBase
from django.urls import path
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from index.exports.services import csv_of, document_of, etag_of, indicator_csv, name_of, province_csv, xlsx_of
from index.exports.tables import TABLES
from index.models import IndexRun
from index.running.services import run_numbered
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
RUN: Final = OpenApiParameter("run", OpenApiTypes.INT, OpenApiParameter.PATH)
TABLE: Final = OpenApiParameter("table", OpenApiTypes.STR, OpenApiParameter.PATH, enum=list(TABLES))
REGION: Final = OpenApiParameter("province", OpenApiTypes.STR, OpenApiParameter.PATH, description="GB/T 2260, six digits")
INDICATOR: Final = OpenApiParameter("indicator", OpenApiTypes.STR, OpenApiParameter.PATH, description="a node's code, or INDEX")
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV: Final = "text/csv; charset=utf-8"


def file_answer(
    request: Request, number: int, part: str, ending: str, kind: str, made: Callable[[IndexRun], Any]
) -> HttpResponseBase:
    """The file, or 304 where the caller has it already: then it is not even made. NotFound `run_unknown`."""
    run = run_numbered(min(number, MAX_BIGINT))
    etag = etag_of(run, f"{part}.{ending}")
    answer = get_conditional_response(request._request, etag=etag)
    if answer is None:
        answer = HttpResponse(made(run), content_type=kind)
        answer["Content-Disposition"] = f'attachment; filename="{name_of(run, part, ending)}"'
    answer["ETag"] = etag
    return answer


class WorkbookView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_workbook", parameters=[RUN], responses={(200, XLSX): OpenApiTypes.BINARY})
    def get(self, request: Request, run: int) -> HttpResponseBase:
        """The whole run as XLSX: definition, weights, raw, treated, normalised, scores, ranks, contributions, flags, sources."""
        return file_answer(request, run, "", "xlsx", XLSX, xlsx_of)


class DocumentView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_document", parameters=[RUN], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, run: int) -> HttpResponseBase:
        """The whole run as JSON, with all that a replay takes."""
        return file_answer(request, run, "", "json", "application/json", lambda found: orjson.dumps(document_of(found)))


class TableView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_table", parameters=[RUN, TABLE], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, run: int, table: str) -> HttpResponseBase:
        """One table of the run as CSV; its last column says whether generated values are in the run."""
        return file_answer(request, run, table, "csv", CSV, lambda found: csv_of(found, table))


class ProvinceTableView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_province", parameters=[RUN, REGION], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, run: int, province: str) -> HttpResponseBase:
        """Every node of one province as CSV."""
        return file_answer(request, run, f"province-{province}", "csv", CSV, lambda found: province_csv(found, province))


class IndicatorTableView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(
        operation_id="index_runs_indicator", parameters=[RUN, INDICATOR], responses={(200, "text/csv"): OpenApiTypes.STR}
    )
    def get(self, request: Request, run: int, indicator: str) -> HttpResponseBase:
        """One node in every province as CSV."""
        return file_answer(request, run, f"indicator-{indicator}", "csv", CSV, lambda found: indicator_csv(found, indicator))


urlpatterns = [
    path("index/runs/<int:run>/export.xlsx", WorkbookView.as_view()),
    path("index/runs/<int:run>/export.json", DocumentView.as_view()),
    path("index/runs/<int:run>/tables/<slug:table>", TableView.as_view()),
    path("index/runs/<int:run>/provinces/<slug:province>", ProvinceTableView.as_view()),
    path("index/runs/<int:run>/indicators/<slug:indicator>", IndicatorTableView.as_view()),
]
