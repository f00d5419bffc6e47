"""The index' doors: everybody reads definitions, weights, runs and observations; operators import, run and publish."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from decimal import Decimal
from typing import Any, ClassVar, Final
from uuid import UUID

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

from core.errors import Invalid, NotFound
from core.http import KeysetPages
from core.spreadsheets import safe_cell
from index.defining import definition_named, publish, read_draft, read_weights, record_weights
from index.importing.services import File, Source, commit, drop, preview, roll_back
from index.models import IndexDefinition, IndexRun, Observation, ObservationBatch, WeightSet
from index.rating import rate_task
from index.regions import PROVINCES
from index.running.services import Wanted, bundle_of, publish_edition, run_index, run_numbered
from index.trees import ROOT
from marketplace.api.lists import ListView
from marketplace.api.serializers import In, Out, valid
from marketplace.auth import Caller, caller_of
from marketplace.permissions import Scopes
from marketplace.scopes import OPERATOR, TASKS_READ, TASKS_WRITE

MAX_BIGINT: Final = 2**63 - 1
TITLE: Final = OpenApiParameter(
    "definition", OpenApiTypes.STR, OpenApiParameter.PATH, description="code@version, or code: the newest"
)
RUN: Final = OpenApiParameter("run", OpenApiTypes.INT, OpenApiParameter.PATH)
BATCH: Final = OpenApiParameter("batch", OpenApiTypes.INT, OpenApiParameter.PATH)
OBSERVATION: Final = OpenApiParameter("observation", OpenApiTypes.INT, OpenApiParameter.PATH)


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
    period = serializers.RegexField(r"^[0-9]{4}(-(0[1-9]|1[0-2]))?$", max_length=7)
    as_of = serializers.DateField(required=False, allow_null=True, default=None, help_text="default: today")
    parameters = serializers.DictField(required=False, default=dict, help_text="what differs from the definition's method")


class RunsView(ListView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ, "POST": OPERATOR}
    serializer_class = IndexRunOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return IndexRun.objects.select_related("definition", "weights").defer("inputs", "result", "analysis")

    @extend_schema(operation_id="index_runs_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Runs, newest first."""
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


def scores_csv(run: IndexRun) -> str:
    """A line per province and node."""
    result, bands = run.read("result"), run.read("analysis")["bands"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    head = (
        "region_code",
        "region",
        "node",
        "raw",
        "score",
        "contribution",
        "rank",
        "band_low",
        "band_high",
        "definition",
        "run",
        "digest",
        "synthetic",
    )
    writer.writerow(head)
    for node, values in result["scores"].items():
        for region, score in values.items():
            rank = result["ranks"].get(region) if node == ROOT else None
            band = bands.get(region, {}) if node == ROOT else {}
            raw, part = (
                result[name].get(one, {}).get(other, "")
                for name, one, other in (("raw", node, region), ("contributions", region, node))
            )
            row = [region, PROVINCES[region].zh, node, raw, score, part, rank, band.get("low"), band.get("high")]
            writer.writerow(
                [
                    safe_cell(one) if isinstance(one, str) and not _is_number(one) else one
                    for one in [*row, result["definition"], run.pk, run.digest, run.synthetic]
                ]
            )
    return out.getvalue()


def _is_number(text: str) -> bool:
    try:
        Decimal(text)
    except ArithmeticError:
        return False
    return True


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


class ObservationBatchOut(Out):
    id = serializers.IntegerField()
    name = serializers.CharField()
    profile = serializers.CharField()
    origin = serializers.CharField()
    state = serializers.ChoiceField(ObservationBatch.State.choices)
    rows = serializers.IntegerField()
    digest = serializers.CharField()
    cited = serializers.JSONField(source="source", help_text="title, publisher, url, licence and date of the whole file")
    report = serializers.JSONField(help_text="[{severity, code, row, field, detail}]; errors stop a commit")
    created_at = serializers.DateTimeField()
    committed_at = serializers.DateTimeField(allow_null=True)
    rolled_back_at = serializers.DateTimeField(allow_null=True)
    reason = serializers.CharField()


class ObservationBatchIn(In):
    name = serializers.CharField(max_length=200)
    content = serializers.CharField(max_length=15 * 2**20, trim_whitespace=False, help_text="the file: text, or base64 if `base64`")
    base64 = serializers.BooleanField(default=False)
    profile = serializers.ChoiceField(["national", "platform"], default="national")
    title = serializers.CharField(max_length=300, default="")
    publisher = serializers.CharField(max_length=200, default="")
    url = serializers.CharField(max_length=500, default="")
    licence = serializers.CharField(max_length=100, default="")
    published = serializers.DateField(
        required=False, allow_null=True, default=None, help_text="when; the vintage of rows without one"
    )


class BatchesView(ListView):
    scopes: ClassVar[Scopes] = {"GET": OPERATOR, "POST": OPERATOR}
    serializer_class = ObservationBatchOut
    pagination_class = KeysetPages

    def rows(self, caller: Caller) -> QuerySet[Any]:
        return ObservationBatch.objects.defer("content")

    @extend_schema(operation_id="index_batches_list")
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Batches of observations, newest first."""
        return super().get(request, *args, **kwargs)

    @extend_schema(operation_id="index_batches_create", request=ObservationBatchIn, responses={201: ObservationBatchOut})
    def post(self, request: Request) -> Response:
        """Look at a file (CSV or XLSX): what is wrong or strange, with its row. Nothing is kept of it before it is committed."""
        given = valid(ObservationBatchIn(data=request.data))
        source = Source(given["title"], given["publisher"], given["url"], given["licence"], given["published"])
        file = File(given["name"], _content(given), source, given["profile"])
        return Response(ObservationBatchOut(preview(file, caller_of(request).user)).data, status=201)


def _content(given: dict[str, Any]) -> bytes:
    if not given["base64"]:
        return str(given["content"]).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(given["content"], validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("file_invalid", "it is no base64", field="content") from None


class IndexReasonIn(In):
    reason = serializers.CharField(max_length=300)


class BatchCommitView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_batches_commit", parameters=[BATCH], request=None, responses=ObservationBatchOut)
    def post(self, request: Request, batch: int) -> Response:
        """Keep all rows of a batch, or none if one is wrong."""
        return Response(ObservationBatchOut(commit(min(batch, MAX_BIGINT))).data)


class BatchDropView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_batches_drop", parameters=[BATCH], request=None, responses=ObservationBatchOut)
    def post(self, request: Request, batch: int) -> Response:
        """Forget a file that was looked at."""
        return Response(ObservationBatchOut(drop(min(batch, MAX_BIGINT))).data)


class BatchRollBackView(APIView):
    scopes: ClassVar[Scopes] = {"POST": OPERATOR}

    @extend_schema(operation_id="index_batches_roll_back", parameters=[BATCH], request=IndexReasonIn, responses=ObservationBatchOut)
    def post(self, request: Request, batch: int) -> Response:
        """No later run sees the batch. Runs that did stay as they are."""
        return Response(
            ObservationBatchOut(roll_back(min(batch, MAX_BIGINT), valid(IndexReasonIn(data=request.data))["reason"])).data
        )


class ObservationOut(Out):
    id = serializers.IntegerField()
    region = serializers.CharField()
    variable = serializers.CharField()
    period = serializers.CharField()
    value = serializers.DecimalField(max_digits=38, decimal_places=12)
    unit = serializers.CharField()
    vintage = serializers.DateField()
    precision = serializers.CharField()
    origin = serializers.CharField(source="batch.origin")
    cited = serializers.CharField(source="source", help_text="as the row says")
    url = serializers.CharField()
    note = serializers.CharField()
    row = serializers.IntegerField()
    batch = serializers.IntegerField(source="batch_id")
    file = serializers.CharField(source="batch.name")
    file_digest = serializers.CharField(source="batch.digest")


class ObservationView(APIView):
    scopes: ClassVar[Scopes] = {"GET": TASKS_READ}

    @extend_schema(operation_id="index_observations_get", parameters=[OBSERVATION], responses=ObservationOut)
    def get(self, request: Request, observation: int) -> Response:
        """One value, with the file and the row that it comes from."""
        found = Observation.objects.select_related("batch").filter(pk=min(observation, MAX_BIGINT)).first()
        if found is None:
            raise NotFound("observation_unknown", "there is no such observation")
        return Response(ObservationOut(found).data)


class RatingIn(In):
    stars = serializers.IntegerField(min_value=1, max_value=5)
    comment = serializers.CharField(max_length=500, default="", allow_blank=True)


class RatingOut(Out):
    task = serializers.UUIDField(source="task_id")
    stars = serializers.IntegerField()
    comment = serializers.CharField()
    rated_at = serializers.DateTimeField()


class RatingView(APIView):
    scopes: ClassVar[Scopes] = {"PUT": TASKS_WRITE}

    @extend_schema(operation_id="tasks_rate", request=RatingIn, responses=RatingOut)
    def put(self, request: Request, task_id: UUID) -> Response:
        """Rate a task that was delivered to you, with 1 to 5 stars. Said again, the last word stands."""
        caller, given = caller_of(request), valid(RatingIn(data=request.data))
        return Response(RatingOut(rate_task(caller.acting_for(), task_id, given["stars"], given["comment"], caller.user)).data)


urlpatterns = [
    path("tasks/<uuid:task_id>/rating", RatingView.as_view()),
    path("index/definitions", DefinitionsView.as_view()),
    path("index/definitions/<str:definition>", DefinitionView.as_view()),
    path("index/definitions/<str:definition>/publish", DefinitionPublishView.as_view()),
    path("index/weights", WeightsView.as_view()),
    path("index/runs", RunsView.as_view()),
    path("index/runs/<int:run>", RunView.as_view()),
    path("index/runs/<int:run>/bundle", BundleView.as_view()),
    path("index/runs/<int:run>/scores", ScoresView.as_view()),
    path("index/runs/<int:run>/publish", RunPublishView.as_view()),
    path("index/batches", BatchesView.as_view()),
    path("index/batches/<int:batch>/commit", BatchCommitView.as_view()),
    path("index/batches/<int:batch>/drop", BatchDropView.as_view()),
    path("index/batches/<int:batch>/roll-back", BatchRollBackView.as_view()),
    path("index/observations/<int:observation>", ObservationView.as_view()),
]
