"""The index' doors: everybody reads definitions, weights and runs; operators run and publish."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import orjson
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import NotFound
from core.http import KeysetPages
from index.defining import definition_named, publish, read_draft, read_weights, record_weights
from index.exports.files import scores_csv
from index.models import IndexDefinition, IndexRun, WeightSet
from index.running.services import Wanted, bundle_of, publish_edition, run_index, run_numbered
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ

MAX_BIGINT: Final = 2**63 - 1
PERIOD: Final = r"^[0-9]{4}(-(0[1-9]|1[0-2]))?$"
TITLE: Final = OpenApiParameter(
    "definition", OpenApiTypes.STR, OpenApiParameter.PATH, description="code@version, or code: the newest"
)
RUN: Final = OpenApiParameter("run", OpenApiTypes.INT, OpenApiParameter.PATH)


class IndexDefinitionOut(Out):
    id = serializers.IntegerField()
    title = serializers.CharField()
    name_zh = serializers.CharField()
    name_en = serializers.CharField()
    state = serializers.ChoiceField(IndexDefinition.State.choices)
    digest = serializers.CharField()
    published_at = serializers.DateTimeField(allow_null=True)


class IndexDefinitionIn(In):
    text = serializers.CharField(max_length=400_000, trim_whitespace=False, help_text="YAML by the schema of definitions")


class DefinitionsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    serializer_class = IndexDefinitionOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        rows = IndexDefinition.objects.all()
        return rows if caller.is_operator else rows.filter(state="published")

    @extend_schema(operation_id="index_definitions_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Trees of indicators, newest first; drafts are shown to operators."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="index_definitions_create", request=IndexDefinitionIn, responses={201: IndexDefinitionOut})
    def post(self, request: Request) -> Response:
        """Keep a definition as a draft: read, checked to the last name and unit. An earlier draft of the version is replaced."""
        return Response(IndexDefinitionOut(read_draft(valid(IndexDefinitionIn(data=request.data))["text"])).data, status=201)


class DefinitionView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_definitions_get", parameters=[TITLE], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, definition: str) -> Response:
        """A published definition as a document, with its digest."""
        row = definition_named(definition)
        return Response({"title": row.title, "digest": row.digest, "document": orjson.loads(row.document)})


class DefinitionPublishView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_definitions_publish", parameters=[TITLE], request=None, responses=IndexDefinitionOut)
    def post(self, request: Request, definition: str) -> Response:
        """Publish a draft: from now on it never changes. Equal weights come with it."""
        code, _, version = definition.partition("@")
        rows = IndexDefinition.objects.filter(code=code, version=int(version) if version.isdecimal() and len(version) < 6 else 0)
        row = rows.first()
        if row is None:
            raise NotFound("definition_unknown", "there is no such definition")
        return Response(IndexDefinitionOut(publish(row)).data)


class IndexWeightsOut(Out):
    id = serializers.IntegerField()
    definition = serializers.CharField(source="definition.title")
    name = serializers.CharField()
    kind = serializers.ChoiceField(WeightSet.Kind.choices)
    weights = serializers.DictField(child=serializers.CharField())
    evidence = serializers.JSONField()
    digest = serializers.CharField()
    recorded_at = serializers.DateTimeField()


class IndexWeightsIn(In):
    definition = serializers.CharField(max_length=60)
    name = serializers.CharField(max_length=80)
    weights = serializers.DictField(child=serializers.CharField(max_length=40), help_text="node -> decimal text; left out: 0")
    note = serializers.CharField(max_length=500, default="", help_text="whose weights they are")


class WeightsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    serializer_class = IndexWeightsOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return WeightSet.objects.select_related("definition")

    @extend_schema(operation_id="index_weights_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Recorded sets of weights, newest first. They never change."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="index_weights_create", request=IndexWeightsIn, responses={201: IndexWeightsOut})
    def post(self, request: Request) -> Response:
        """Record imported weights of a published definition's nodes."""
        given = valid(IndexWeightsIn(data=request.data))
        row = definition_named(given["definition"])
        weights = read_weights(row, given["weights"])
        made = record_weights(row, given["name"], "imported", weights, {"note": given["note"]}, caller_of(request).user)
        return Response(IndexWeightsOut(made).data, status=201)


class IndexRunOut(Out):
    id = serializers.IntegerField()
    definition = serializers.CharField(source="definition.title")
    weights = serializers.CharField(source="weights.name")
    profile = serializers.CharField()
    period = serializers.CharField()
    as_of = serializers.DateField()
    known_at = serializers.DateTimeField()
    parameters = serializers.JSONField()
    synthetic = serializers.BooleanField(help_text="whether any value was generated")
    input_digest = serializers.CharField()
    digest = serializers.CharField()
    analysis_digest = serializers.CharField()
    created_at = serializers.DateTimeField()
    edition = serializers.IntegerField(allow_null=True)
    change_note = serializers.CharField()
    published_at = serializers.DateTimeField(allow_null=True)


class IndexRunIn(In):
    definition = serializers.CharField(max_length=60)
    weights = serializers.CharField(max_length=80, default="equal")
    profile = serializers.ChoiceField(["national", "platform"], default="national")
    period = serializers.RegexField(PERIOD, max_length=7)
    as_of = serializers.DateField(required=False, allow_null=True, default=None, help_text="default: today")
    parameters = serializers.DictField(required=False, default=dict, help_text="what differs from the definition's method")


class IndexRunsIn(In):
    definition = serializers.CharField(max_length=60, required=False, help_text="code@version, or code: all its versions")
    profile = serializers.ChoiceField(["national", "platform"], required=False)
    period = serializers.RegexField(PERIOD, max_length=7, required=False)
    published = serializers.BooleanField(required=False, help_text="true: editions only; false: what is none")


class RunsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    serializer_class = IndexRunOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        given = self.request.query_params.dict()
        asked = valid(IndexRunsIn(data={name: text for name, text in given.items() if name in IndexRunsIn().fields}))
        rows = IndexRun.objects.select_related("definition", "weights").defer("inputs", "result", "analysis")
        return rows.filter(**_wanted(asked))

    @extend_schema(operation_id="index_runs_list", parameters=[IndexRunsIn])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Runs, newest first; of a definition, profile or period, or editions only."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="index_runs_create", request=IndexRunIn, responses={201: IndexRunOut})
    def post(self, request: Request) -> Response:
        """Make a run. What was made of the same definition, weights, values and parameters is given again."""
        given = valid(IndexRunIn(data=request.data))
        row = definition_named(given["definition"])
        weights = WeightSet.objects.select_related("definition").filter(definition=row, name=given["weights"]).first()
        if weights is None:
            raise NotFound("weights_unknown", "the definition has no weights of this name", field="weights")
        wanted = Wanted(weights, given["profile"], given["period"], given["as_of"], parameters=given["parameters"])
        return Response(IndexRunOut(run_index(wanted, caller_of(request).user)).data, status=201)


def _wanted(asked: dict[str, Any]) -> dict[str, Any]:
    """What is asked of a list of runs, as conditions. A version that is no number is none that there is."""
    code, at, version = asked.get("definition", "").partition("@")
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 6 else 0
    named = ({"definition__code": code} if code else {}) | ({"definition__version": number} if at else {})
    plain = {name: asked[name] for name in ("profile", "period") if name in asked}
    return named | plain | ({"edition__isnull": not asked["published"]} if "published" in asked else {})


class RunView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_get", parameters=[RUN], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, run: int) -> Response:
        """A run with its result and analysis: scores, ranks, contributions, flags, bands, sensitivity."""
        found = run_numbered(min(run, MAX_BIGINT))
        return Response(IndexRunOut(found).data | {"result": found.read("result"), "analysis": found.read("analysis")})


class BundleView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_bundle", parameters=[RUN], responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, run: int) -> Response:
        """All that it takes to make the run again on another machine: `manage.py index_replay FILE`."""
        return Response(bundle_of(run_numbered(min(run, MAX_BIGINT))))


class ScoresView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_runs_scores", parameters=[RUN], responses={(200, "text/csv"): OpenApiTypes.STR})
    def get(self, request: Request, run: int) -> HttpResponse:
        """Every node's score of every province as CSV, with raw values, contributions, ranks and bands."""
        found = run_numbered(min(run, MAX_BIGINT))
        answer = HttpResponse(scores_csv(found), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="index-run-{found.pk}.csv"'
        answer["ETag"] = f'"{found.digest}"'
        return answer


class IndexPublishIn(In):
    change_note = serializers.CharField(max_length=500)


class RunPublishView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_runs_publish", parameters=[RUN], request=IndexPublishIn, responses=IndexRunOut)
    def post(self, request: Request, run: int) -> Response:
        """Publish a run as the next edition, with what changed."""
        return Response(
            IndexRunOut(publish_edition(min(run, MAX_BIGINT), valid(IndexPublishIn(data=request.data))["change_note"])).data
        )


urlpatterns = [
    path("index/definitions", DefinitionsView.as_view()),
    path("index/definitions/<str:definition>", DefinitionView.as_view()),
    path("index/definitions/<str:definition>/publish", DefinitionPublishView.as_view()),
    path("index/weights", WeightsView.as_view()),
    path("index/runs", RunsView.as_view()),
    path("index/runs/<int:run>", RunView.as_view()),
    path("index/runs/<int:run>/bundle", BundleView.as_view()),
    path("index/runs/<int:run>/scores", ScoresView.as_view()),
    path("index/runs/<int:run>/publish", RunPublishView.as_view()),
]
