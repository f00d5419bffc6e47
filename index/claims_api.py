"""A run beside what the report prints of its own index."""

from __future__ import annotations

from typing import ClassVar, Final

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from index.claims import findings, ledger
from index.running.services import run_numbered
from marketplace.api.serializers import Out
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
RUN: Final = OpenApiParameter("run", OpenApiTypes.INT, OpenApiParameter.PATH)


class IndexClaimOut(Out):
    id = serializers.CharField(source="claim.id")
    place = serializers.CharField(source="claim.place", help_text="chapter of the report")
    quote = serializers.CharField(source="claim.quote")
    en = serializers.CharField(source="claim.en")
    kind = serializers.CharField(source="claim.kind")
    verdict = serializers.ChoiceField(["agrees", "differs", "unknown"])
    found = serializers.CharField(help_text="what this run gives, in words")
    comparable = serializers.BooleanField()
    reasons = serializers.ListField(child=serializers.CharField(), help_text="why the two cannot be compared in earnest")
    doubt = serializers.CharField(source="claim.doubt", default="", help_text="what is strange in the statement itself")


class IndexClaimsOut(Out):
    of = serializers.CharField(help_text="whose statements they are")
    claims = IndexClaimOut(many=True)


class ClaimsView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_claims", parameters=[RUN], responses=IndexClaimsOut)
    def get(self, request: Request, run: int) -> Response:
        """What the report of 2023 prints beside what this run gives, with the reasons why the two can or cannot be compared."""
        found = findings(run_numbered(min(run, MAX_BIGINT)))
        return Response(IndexClaimsOut({"of": ledger()["source"], "claims": found}).data)


urlpatterns = [path("index/runs/<int:run>/claims", ClaimsView.as_view())]
