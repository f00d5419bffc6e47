"""What a run would come to with other weights or another method."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from index.analysis.whatif import AGGREGATES, NORMALISERS
from index.running.services import run_numbered
from index.whatif import WhatIf, file_name, scores_csv, what_if
from marketplace.api.serializers import Out
from marketplace.permissions import Scopes
from marketplace.scopes import TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
ASKED: Final = [
    OpenApiParameter("run", OpenApiTypes.INT, OpenApiParameter.PATH),
    OpenApiParameter("weights", OpenApiTypes.STR, enum=("own", "run"), description="default: own where a node is rated"),
    OpenApiParameter("normalise", OpenApiTypes.STR, enum=NORMALISERS),
    OpenApiParameter("aggregate", OpenApiTypes.STR, enum=AGGREGATES),
    OpenApiParameter("winsorise", OpenApiTypes.INT, description="the most values of an indicator that are winsorised, 0 to 10"),
    OpenApiParameter("min_coverage", OpenApiTypes.STR, description="0 to 1"),
    OpenApiParameter("per", OpenApiTypes.STR, enum=("eflops",), description="scores by the capacity of FP32: an intensity"),
]


class WhatIfPlaceOut(Out):
    region = serializers.CharField()
    rank = serializers.IntegerField(allow_null=True)
    score = serializers.DecimalField(max_digits=30, decimal_places=9, allow_null=True)
    rank_before = serializers.IntegerField(allow_null=True, help_text="of the run")
    score_before = serializers.DecimalField(max_digits=30, decimal_places=9, allow_null=True)
    gained = serializers.IntegerField(allow_null=True, help_text="ranks won (+) or lost (-)")


class WhatIfOut(Out):
    run = serializers.IntegerField(source="run.pk")
    official = serializers.BooleanField(help_text="never: a what-if is nobody's edition")
    synthetic = serializers.BooleanField(source="run.synthetic")
    asked = serializers.DictField(source="question.asked", child=serializers.CharField())
    places = WhatIfPlaceOut(many=True)


def _found(request: Request, run: int) -> WhatIf:
    return what_if(run_numbered(min(run, MAX_BIGINT)), request.query_params.dict())


class WhatIfView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_what_if", parameters=ASKED, responses=WhatIfOut)
    def get(self, request: Request, run: int) -> Response:
        """Ranks by one's own ratings, 0 to 5, of the two upper levels (`?A=5&B=3`), and by another method. Kept nowhere."""
        found = _found(request, run)
        document: dict[str, Any] = {"run": found.run, "official": False, "question": found.question, "places": found.places}
        return Response(WhatIfOut(document).data)


class WhatIfScoresView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_what_if_scores", parameters=ASKED, responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, run: int) -> HttpResponse:
        """The same as CSV, every line marked as unofficial."""
        found = _found(request, run)
        answer = HttpResponse(scores_csv(found), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{file_name(found)}"'
        return answer


urlpatterns = [
    path("index/runs/<int:run>/what-if", WhatIfView.as_view()),
    path("index/runs/<int:run>/what-if/scores", WhatIfScoresView.as_view()),
]
