"""Exports' doors: ask for a file, see how far it is, fetch it. Thin; `requesting.py` and `running.py` do the work."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, ClassVar, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.urls import path
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.exports.kinds import KINDS
from billing.exports.requesting import Wanted, file_of, request_export, shown_to
from billing.exports.running import run_now
from billing.exports.writers import FORMATS
from billing.models import Export
from core.errors import NotFound
from core.http import KeysetPages
from marketplace import storage
from marketplace.api.artifacts import AnyAccept
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, TrueOrFalse, valid
from marketplace.auth import Caller, caller_of
from marketplace.models import Organization
from marketplace.permissions import Scopes
from marketplace.scopes import BILLING_READ
from metering.periods import zone_of
from metering.windows import moment_in, month_of

EXPORT: Final = OpenApiParameter("export", OpenApiTypes.UUID, OpenApiParameter.PATH)
_MOMENT: Final = "a day or a moment, in the organization's zone where it names none"


class ExportIn(In):
    """What is exported. Which parties, formats and groups a kind has, `GET /exports/kinds` says."""

    kind = serializers.ChoiceField(sorted(KINDS))
    format = serializers.CharField(required=False, default="", max_length=12, help_text="by default the kind's first")
    to = serializers.CharField(required=False, max_length=40, help_text=f"{_MOMENT}, excluded; by default now")
    party = serializers.CharField(required=False, default="", max_length=9, help_text="by default the kind's first; all: operators")
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", required=False, default="", help_text="ISO 4217, only this one")
    group = serializers.CharField(required=False, default="", max_length=10, help_text="of statements")
    site = serializers.RegexField(
        r"^[A-Za-z0-9][A-Za-z0-9 ._/-]*\Z", required=False, default="", max_length=60, help_text="of APEL's records; the short name"
    )
    ascii = TrueOrFalse(required=False, default=False, help_text="names in ASCII or by their identifier, other text escaped")

    def get_fields(self) -> dict[str, Any]:
        start = serializers.CharField(required=False, max_length=40, help_text=f"{_MOMENT}, included; by default the month's first")
        return super().get_fields() | {"from": start}  # a keyword cannot be an attribute


class ExportOut(Out):
    """An export. `rows` grows while it is written; `sha256` is the file's, once it is ready."""

    id = serializers.UUIDField()
    organization = serializers.CharField(source="organization.slug", allow_null=True, default=None, help_text="null: everybody's")
    kind = serializers.ChoiceField(sorted(KINDS))
    schema = serializers.CharField(help_text="kind and version of the columns")
    format = serializers.CharField()
    party = serializers.CharField()
    to = serializers.DateTimeField(source="ends_at")
    currency = serializers.CharField(help_text="empty: any")
    group = serializers.CharField(source="group_by", help_text="empty: none")
    site = serializers.CharField(help_text="of APEL's records; empty: the provider's short name")
    ascii = serializers.BooleanField(source="in_ascii")
    state = serializers.ChoiceField(Export.State.choices)
    rows = serializers.IntegerField()
    estimated = serializers.IntegerField(allow_null=True, help_text="rows that are expected; null: nobody knows")
    bytes = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField()
    reason = serializers.CharField(help_text="why it failed, or is tried again")
    requested_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.DateTimeField(source="starts_at")}


def _wanted(given: dict[str, Any], caller: Caller) -> Wanted:
    zone = ZoneInfo(settings.USAGE_ZONE) if caller.organization is None else zone_of(caller.organization)
    end = moment_in(given["to"], zone, "to") if "to" in given else timezone.now()
    start = moment_in(given["from"], zone, "from") if "from" in given else month_of(end, zone)
    asked = given["format"], given["party"], given["currency"], given["group"], given["ascii"], given["site"]
    return Wanted(given["kind"], start, end, *asked, is_operator=caller.is_operator)


def ask(caller: Caller, data: Any) -> Export:
    """The export that an ExportIn asks for; a small one is written here and now."""
    export, is_new = request_export(caller.organization, caller.user, _wanted(valid(ExportIn(data=data)), caller))
    if is_new and export.estimated is not None and export.estimated <= settings.EXPORT_AT_ONCE_ROWS:
        return run_now(export)
    return export


def seen_by(caller: Caller) -> QuerySet[Export]:
    return shown_to(_reader(caller), operator=caller.is_operator)


def _reader(caller: Caller) -> Organization | None:
    return None if caller.is_operator else caller.acting_for()


def export_of(request: Request, export: UUID) -> Export:
    found = seen_by(caller_of(request)).filter(pk=export).first()
    if found is None:
        raise NotFound("not_found", "no such export")
    return found


class ExportsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ, "POST": BILLING_READ}
    serializer_class = ExportOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return seen_by(caller)

    @extend_schema(operation_id="exports_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The organization's exports (operators: all), newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="exports_create", request=ExportIn, responses={201: ExportOut, 202: ExportOut})
    def post(self, request: Request) -> Response:
        """Export usage, charges, statements, the ledger, FOCUS or APEL. 201: the file is ready; 202: it is being written.

        While the same question is open, it is the same export.
        """
        export = ask(caller_of(request), request.data)
        return Response(ExportOut(export).data, status=201 if export.state == "ready" else 202)


class ExportView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="exports_retrieve", parameters=[EXPORT], responses=ExportOut)
    def get(self, request: Request, export: UUID) -> Response:
        """How far an export is: its state, the rows written so far, the rows expected."""
        return Response(ExportOut(export_of(request, export)).data)


class ExportFileView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="exports_file",
        parameters=[EXPORT],
        responses={
            (200, one.media_type): OpenApiResponse(OpenApiTypes.BINARY, description="the rows") for one in FORMATS.values()
        },
    )
    def get(self, request: Request, export: UUID) -> HttpResponseBase:
        """The file, or a range of it. `Repr-Digest` holds its SHA-256, `Gridfare-Rows` how many rows it has."""
        found = file_of(export_of(request, export))
        form = FORMATS[found.format]
        name = f"{found.schema.replace('/', '-')}-{found.starts_at:%Y%m%d}-{found.ends_at:%Y%m%d}.{form.suffix}"
        given = {"filename": name, "media_type": form.media_type}
        answer = storage.file_response(request._request, found.stored, found.sha256, found.bytes or 0, **given)
        answer["Repr-Digest"] = f"sha-256=:{b64encode(bytes.fromhex(found.sha256)).decode()}:"
        answer["Gridfare-Rows"], answer["Gridfare-Schema"] = str(found.rows), found.schema
        answer["Cache-Control"] = "no-store"
        return answer


class ColumnOut(Out):
    name = serializers.CharField()
    type = serializers.CharField(help_text="text, ascii, integer, number (12 places), decimal (21 places), moment or json")
    nullable = serializers.BooleanField()
    means = serializers.CharField()


class KindOut(Out):
    """A kind of export: who may ask for it as what, how it may be written, its columns in their order."""

    kind = serializers.CharField()
    schema = serializers.CharField()
    parties = serializers.ListField(child=serializers.CharField())
    formats = serializers.ListField(child=serializers.CharField())
    groups = serializers.ListField(child=serializers.CharField())
    columns = ColumnOut(many=True)


class KindsOut(Out):
    kinds = KindOut(many=True)


class KindsView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}

    @extend_schema(operation_id="exports_kinds", responses=KindsOut)
    def get(self, request: Request) -> Response:
        """What can be exported. A schema's columns never change; new ones make a new version."""
        return Response({"kinds": [_shown(name) for name in KINDS]})


def _shown(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    columns = [
        {"name": one.column.name, "type": one.column.kind, "nullable": one.column.nullable, "means": one.means}
        for one in kind.table.told
    ]
    lists = {"parties": kind.parties, "formats": kind.formats, "groups": kind.groups}
    return {"kind": name, "schema": kind.table.name, "columns": columns} | lists


urlpatterns = [
    path("exports", ExportsView.as_view()),
    path("exports/kinds", KindsView.as_view()),
    path("exports/<uuid:export>", ExportView.as_view()),
    path("exports/<uuid:export>/file", ExportFileView.as_view()),
]
