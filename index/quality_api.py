"""How good the data of a run are."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from index.analysis.quality import STATES
from index.quality import ages, data_quality
from index.running.services import run_numbered
from marketplace.api.serializers import Out
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
RUN: Final = OpenApiParameter("run", OpenApiTypes.INT, OpenApiParameter.PATH)


class IndexPairOut(Out):
    one = serializers.CharField()
    other = serializers.CharField()
    r = serializers.FloatField(help_text="Pearson's, of the scores")
    n = serializers.IntegerField(help_text="regions of which both are known")


class IndexAgeOut(Out):
    variable = serializers.CharField()
    regions = serializers.IntegerField()
    first = serializers.DateField(help_text="on which the oldest of its values was published")
    last = serializers.DateField()
    origins = serializers.ListField(child=serializers.CharField())


class IndexQualityOut(Out):
    states = serializers.DictField(child=serializers.DictField(child=serializers.ChoiceField(STATES)), help_text="leaf -> region")
    by_leaf = serializers.DictField(child=serializers.FloatField(), help_text="share of the regions of which it is known")
    by_region = serializers.DictField(child=serializers.FloatField(), help_text="share of the leaves that are known of it")
    dominated = serializers.DictField(child=serializers.JSONField(), help_text="leaf -> [region, its share of all]")
    flat = serializers.ListField(child=serializers.CharField(), help_text="leaves of which all values are equal")
    pairs = IndexPairOut(many=True)
    ages = IndexAgeOut(many=True)


class QualityView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_quality", parameters=[RUN], responses=IndexQualityOut)
    def get(self, request: Request, run: int) -> Response:
        """What a run knew of what could be known, from where, how old it was, and which indicators say the same."""
        row = run_numbered(min(run, MAX_BIGINT))
        found = data_quality(row)
        document: dict[str, Any] = {name: getattr(found, name) for name in ("states", "by_leaf", "by_region", "flat", "pairs")}
        return Response(IndexQualityOut(document | {"dominated": found.dominated, "ages": ages(row)}).data)


urlpatterns = [path("index/runs/<int:run>/quality", QualityView.as_view())]
