"""Exports' doors."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Any, ClassVar

from django.conf import settings
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from billing.exports.columns import COLUMNS
from billing.exports.focus import focus_rows, period_of
from billing.exports.writers import FORMATS, TABULAR, write
from marketplace.api.artifacts import AnyAccept
from marketplace.api.serializers import In, valid
from marketplace.auth import caller_of
from marketplace.permissions import Scopes
from marketplace.ranges import Streamed
from marketplace.scopes import BILLING_READ

_PIECE = 1 << 18


class FocusIn(In):
    month = serializers.RegexField(r"^(19[7-9]\d|[2-8]\d\d\d)-(0[1-9]|1[0-2])\Z", help_text="2026-03, in the zone of the account")
    format = serializers.ChoiceField(TABULAR, default="csv")
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", required=False, help_text="ISO 4217, by default the market's")


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece


class FocusView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="exports_focus",
        parameters=[
            OpenApiParameter("month", {"type": "string", "pattern": r"^\d{4}-\d{2}$"}, required=True, description="2026-03"),
            OpenApiParameter("format", str, enum=TABULAR, default="csv"),
            OpenApiParameter("currency", {"type": "string", "pattern": "^[A-Z]{3}$"}),
        ],
        responses={
            (200, "text/csv"): OpenApiResponse(OpenApiTypes.STR, description="a header and the rows"),
            (200, "application/vnd.apache.parquet"): OpenApiResponse(OpenApiTypes.BINARY, description="the same, typed"),
        },
    )
    def get(self, request: Request) -> Any:
        """A month of the account as FOCUS 1.2; without an issued invoice only the header. `Repr-Digest` holds its SHA-256."""
        given = valid(FocusIn(data=request.query_params.dict()))
        organization, form = caller_of(request).acting_for(), given["format"]
        period = period_of(organization, given["month"], given.get("currency", settings.CURRENCY))
        file: IO[bytes] = TemporaryFile()  # noqa: SIM115  closed when it was sent; written whole first, for its digest
        written = write(form, COLUMNS, focus_rows(period), file)
        file.seek(0)
        answer = Streamed(_pieces(file), content_type=FORMATS[form].media_type)
        answer["Content-Disposition"] = f'attachment; filename="focus-{given["month"]}.{FORMATS[form].suffix}"'
        answer["Repr-Digest"] = f"sha-256=:{b64encode(written.digest).decode()}:"
        answer["Cache-Control"] = "no-store"
        return answer


urlpatterns = [path("exports/focus", FocusView.as_view())]
