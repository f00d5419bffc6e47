"""The ledger's doors: the chain of seals, entries with their proof, and the whole as a stream. Reads only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.ledger import queries
from billing.ledger.export import FORMATS, stream
from billing.ledger.queries import Reader
from core.http import KeysetPages
from marketplace.api.artifacts import AnyAccept
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.ranges import Streamed
from marketplace.scopes import BILLING_READ


def reader_of(caller: Caller) -> Reader:
    """Operators read everything, everybody else what is their organization's."""
    return None if caller.is_operator else caller.acting_for()


@extend_schema_field(OpenApiTypes.STR)
class HexOut(serializers.Field[Any, Any, str, Any]):
    """Bytes as lower-case hexadecimal digits."""

    def to_representation(self, value: Any) -> str:
        return bytes(value).hex()


class SealOut(Out):
    """A block of the ledger. `hash` is the SHA-256 that docs/billing/ledger.md writes down; `previous` the last one's."""

    number = serializers.IntegerField()
    first = serializers.IntegerField(help_text="the place of its first entry")
    last = serializers.IntegerField()
    entries = serializers.IntegerField()
    legs = serializers.IntegerField()
    balances = serializers.IntegerField(help_text="accounts that its entries touched")
    previous = HexOut()
    root = HexOut(help_text="of the Merkle tree over its entries and balances")  # type: ignore[assignment]  # no field here
    hash = HexOut()
    sealed_at = serializers.DateTimeField()


class SealedLegOut(Out):
    """A leg: whole, with what blinds it, or for a leg of somebody else its digest alone."""

    leg = serializers.IntegerField(required=False)
    account = serializers.IntegerField(required=False)
    kind = serializers.CharField(required=False)
    organization = serializers.IntegerField(required=False, allow_null=True)
    currency = serializers.CharField(required=False)
    debit = serializers.IntegerField(required=False, help_text="micro-units")
    credit = serializers.IntegerField(required=False, help_text="micro-units")
    blind = serializers.CharField(required=False)
    digest = serializers.CharField(required=False)


class InclusionOut(Out):
    """A sealed entry and the way from its digest to its seal's root."""

    seal = serializers.IntegerField()
    position = serializers.IntegerField()
    entry = serializers.IntegerField()
    kind = serializers.CharField()
    key = serializers.CharField()
    memo = serializers.CharField()
    task = serializers.UUIDField(allow_null=True)
    posted_us = serializers.IntegerField(help_text="microseconds since 1970")
    digest = serializers.CharField()
    legs = SealedLegOut(many=True)
    path = serializers.ListField(child=serializers.CharField(), help_text="neighbours from the leaf to the root")


class ByNumber(KeysetPages):
    ordering = "number"


class ByPosition(KeysetPages):
    ordering = "position"


class ProofView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = SealOut
    pagination_class = ByNumber

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.seals()

    @extend_schema(operation_id="ledger_proof_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The chain of seals, from the first: counts, places and hashes. Keep a hash, and no earlier entry can change unseen."""
        return super().get(request, *args, **kwargs)


class ProofEntriesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    serializer_class = InclusionOut
    pagination_class = ByPosition

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return queries.sealed_entries(reader_of(caller))

    @extend_schema(operation_id="ledger_proof_entries_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The organization's own sealed entries (operators: all), each with its legs and its path to the seal's root."""
        page = self.paginate_queryset(self.get_queryset()) or []
        return self.get_paginated_response(queries.inclusions(page, reader_of(caller_of(request))))


class ExportIn(In):
    """The query of an export."""

    format = serializers.ChoiceField(sorted(FORMATS), default="ndjson")


class ExportView(APIView):
    scopes: ClassVar[Scopes] = {"GET": BILLING_READ}
    content_negotiation_class = AnyAccept

    @extend_schema(
        operation_id="ledger_export",
        parameters=[OpenApiParameter("format", str, enum=sorted(FORMATS), default="ndjson")],
        responses={
            (200, one.media_type): OpenApiResponse(OpenApiTypes.STR, description=one.what) for one in FORMATS.values()
        },
    )
    def get(self, request: Request) -> Any:
        """The sealed ledger as a stream: operators all of it, an organization the entries of its own accounts."""
        name = valid(ExportIn(data=request.query_params.dict()))["format"]
        reader, chosen = reader_of(caller_of(request)), FORMATS[name]
        answer = Streamed(stream(name, reader), content_type=chosen.media_type)
        answer["Content-Disposition"] = f'attachment; filename="ledger.{chosen.suffix}"'
        answer["Cache-Control"] = "no-store"
        return answer


urlpatterns = [
    path("ledger/proof", ProofView.as_view()),
    path("ledger/proof/entries", ProofEntriesView.as_view()),
    path("ledger/export", ExportView.as_view()),
]
